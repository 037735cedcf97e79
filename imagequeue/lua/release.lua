-- release: a worker that stops hands back what it has not computed, and its lease.
--
-- ARGV  1 worker id
-- Returns  how many documents went back
-- Repeat   Safe: nothing is left to hand back the second time.
-- Documents return to the head of the queue in their old order, no attempt charged; a suspect returns to the
-- suspects. The id is kept in `gone` for a while: see reap.
local me = ARGV[1]
local processing = P .. 'processing:' .. me
local released = 0

check_kinds()
allow_at_maxmemory()
while true do
  local document = redis.call('LINDEX', processing, -1)
  if not document then break end
  local id = head_of(document)
  local job = id and job_of(id)
  if job and job.token ~= '' then
    redis.call('HINCRBY', job_key(id), 'attempts', -1)
    redis.call('HDEL', job_key(id), 'token', 'worker')
    redis.call('HSET', job_key(id), 'state', 'waiting')
  end
  redis.call('LMOVE', processing, job and job.crashes > 0 and P .. 'suspect' or Q, 'RIGHT', 'LEFT')
  released = released + 1
end
if redis.call('ZREM', P .. 'workers', me) == 1 then redis.call('ZADD', P .. 'gone', now_ms(), me) end
redis.call('DEL', P .. 'worker:' .. me)
return released
