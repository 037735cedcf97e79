-- complete: store and publish the results of a batch, and take its documents off the worker's hands.
--
-- ARGV  1 worker id
--       2 how long a result is kept, ms
--       3 the token that the batch was claimed with
--       4 how long the worker has been busy with nothing but it, ms; 0 if that says nothing
--       5 most jobs in a batch of this worker
--       then for each job, in claim order: id, reply_to, envelope
-- Returns  {stored, waiting, suspects}: how many results were the first for their job, how many jobs and suspects wait
-- Repeat   Safe: no job is known any more the second time, and its document is no longer there.
-- A worker that was fenced meanwhile may still bring its results: the model is a pure function, so the first
-- result is as good as any; it has no document to take off, which is no error.
local me, ttl_ms, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local busy_ms, batch_limit = tonumber(ARGV[4]), ARGV[5]
local FIRST = 6
local processing = P .. 'processing:' .. me
local jobs, stored = (#ARGV - FIRST + 1) / 3, 0

check_kinds()
allow_at_maxmemory()

-- The batch is what the processing list begins with, in claim order: claims append, and only this script and
-- `fail` take away. If each job still carries the batch's token, and the first and the last document are the first
-- and the last job's, none lies between that is not brought, and what lies between need not be looked at to be cut
-- off; see the prelude for what a look costs.
local is_untouched = jobs > 0 and redis.call('LLEN', processing) >= jobs
for i = FIRST, #ARGV, 3 do
  is_untouched = is_untouched and redis.pcall('HGET', job_key(ARGV[i]), 'token') == token
end
is_untouched = is_untouched and head_of(redis.call('LINDEX', processing, 0)) == ARGV[FIRST]
  and (jobs == 1 or head_of(redis.call('LINDEX', processing, jobs - 1)) == ARGV[#ARGV - 2])

for i = FIRST, #ARGV, 3 do
  if settle(ARGV[i], ARGV[i + 2], ARGV[i + 1], ttl_ms) then stored = stored + 1 end
  if not is_untouched then remove(processing, ARGV[i]) end
end
if is_untouched then redis.call('LTRIM', processing, jobs, -1) end

if stored > 0 then
  count('completed', stored)
  count('batch:' .. jobs, 1)
  if redis.call('EXISTS', P .. 'worker:' .. me) == 1 then
    increment(P .. 'worker:' .. me, 'images', stored)
    redis.pcall('HSET', P .. 'worker:' .. me, 'last_batch', jobs)
  end
  -- The drain rate: jobs, and the ms that a worker was busy with them, both fading by half every 3 s, so that their
  -- quotient follows the load. Time that a worker waits for work does not count: an idle fleet is not a slow one. The
  -- rate of all is that of one times the workers that are alive (see enqueue), so it changes as soon as they do.
  if busy_ms > 0 then
    local now = now_ms()
    local rate = redis.call('HMGET', P .. 'stats', 'drained', 'drained_ms', 'drained_at')
    local drained, drained_ms, at = number(rate[1], 0), number(rate[2], 0), math.min(number(rate[3], now), now)
    local fade = 0.5 ^ ((now - at) / 3000)
    redis.call('HSET', P .. 'stats', 'drained', drained * fade + jobs, 'drained_ms', drained_ms * fade + busy_ms,
      'drained_at', string.format('%.0f', now), 'batch_limit', batch_limit)
  end
end
return {stored, redis.call('LLEN', Q), redis.call('LLEN', P .. 'suspect')}
