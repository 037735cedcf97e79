-- requeue: an image that was given up waits again, as a new job. Its entry leaves `dead` in the same step.
--
-- ARGV  1 the entry, byte for byte as it lies in `dead`
--       2 document: the entry's, under an id that is new
--       3 timeout, ms: the deadline is that long after Redis's own now
--       4 how long a result is kept, ms
-- Returns  OK | GONE (the entry is not there: cleared, or re-queued by somebody else)
-- Repeat   Safe: the second call finds the new job, or its result, says OK and changes nothing.
-- Memory   At maxmemory it goes on: what is taken off is as large as what is put back.
local entry, document, timeout_ms, ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local id = head_of(document)

check_kinds()

if redis.call('EXISTS', job_key(id), P .. 'result:' .. id) > 0 then return 'OK' end
if redis.call('LREM', P .. 'dead', 1, entry) == 0 then return 'GONE' end
redis.call('RPUSH', Q, document)
let_wait(id, timeout_ms, ttl_ms)
return 'OK'
