-- complete: store and publish the results of a batch, and take its documents off the worker's hands.
--
-- ARGV  1 worker id
--       2 how long a result is kept, ms
--       3 the token that the batch was claimed with
--       4 how long the worker has been busy with nothing but it, ms; 0 if that says nothing
--       5 most jobs in a batch of this worker
--       6 how long it takes for each of a full batch, ms; 0 if unknown
--       then for each job, in claim order: id, reply_to, envelope
-- Returns  {stored, waiting, suspects}: how many results were the first for their job, how many jobs and suspects wait
-- Repeat   Safe: no job is known any more the second time, and its document is no longer there.
-- A worker that was fenced meanwhile may still bring its results: the model is a pure function, so the first
-- result is as good as any; it has no document to take off, which is no error.
local me, ttl_ms, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local busy_ms, batch_limit, full_ms = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local FIRST = 7
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

-- Whether this is the first time, and not a repeat.
local is_first = is_untouched
for i = FIRST, #ARGV, 3 do
  if settle(ARGV[i], ARGV[i + 2], ARGV[i + 1], ttl_ms) then stored = stored + 1 end
  if not is_untouched and remove(processing, ARGV[i]) then is_first = true end
end
if is_untouched then redis.call('LTRIM', processing, jobs, -1) end

if stored > 0 then
  count('completed', stored)
  count('batch:' .. jobs, 1)
  if redis.call('EXISTS', P .. 'worker:' .. me) == 1 then
    increment(P .. 'worker:' .. me, 'images', stored)
    redis.pcall('HSET', P .. 'worker:' .. me, 'last_batch', jobs)
  end
end

-- The drain rate: jobs, and the ms that a worker was busy with them, both fading by half every 3 s, so that their
-- quotient follows the load. Time that a worker waits for work does not count: an idle fleet is not a slow one. The
-- rate of all is that of one times the workers that are alive (see enqueue), so it changes as soon as they do. A batch
-- that came too late for its clients counts, else a model that has become slow would never be known to be.
if busy_ms > 0 and (is_first or stored > 0) then
  local now = now_ms()
  local rate = redis.call('HMGET', P .. 'stats', 'busy_jobs', 'busy_ms', 'busy_batches', 'busy_at')
  local fade = 0.5 ^ ((now - math.min(number(rate[4], now), now)) / 3000)
  redis.call('HSET', P .. 'stats', 'busy_jobs', number(rate[1], 0) * fade + jobs,
    'busy_ms', number(rate[2], 0) * fade + busy_ms, 'busy_batches', number(rate[3], 0) * fade + 1,
    'busy_at', string.format('%.0f', now), 'batch_limit', batch_limit, 'full_ms', full_ms)
end
return {stored, waiting(), redis.call('LLEN', P .. 'suspect')}
