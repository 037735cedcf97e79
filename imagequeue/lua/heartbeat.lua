-- heartbeat: take a lease, or extend it.
--
-- ARGV  1 worker id
--       2 lease, ms
--       3 JOIN (a fresh id takes its first lease) | BEAT
--       4... with JOIN: field, value, field, value, ... for people
-- Returns  OK | FENCED (BEAT without a lease: the worker was reaped, or Redis lost its memory, and its list is swept
--          once more, as in claim; JOIN of an id that has left)
-- Repeat   Safe: a lease is set, not added to. A JOIN that comes again after its id was reaped takes none: what
--          lies in the list of an id in `gone` is swept, so its owner would be charged for jobs that it computes.
local me, lease_ms, verb = ARGV[1], tonumber(ARGV[2]), ARGV[3]

check_kinds()
allow_at_maxmemory()
if verb == 'JOIN' then
  if redis.call('ZSCORE', P .. 'gone', me) then return 'FENCED' end
  redis.call('HSET', P .. 'worker:' .. me, unpack(ARGV, 4))
elseif not redis.call('ZSCORE', P .. 'workers', me) then
  redis.call('ZADD', P .. 'gone', now_ms(), me)
  return 'FENCED'
end
redis.call('ZADD', P .. 'workers', now_ms() + lease_ms, me)
redis.call('PEXPIRE', P .. 'worker:' .. me, lease_ms * 2)
return 'OK'
