-- complete: store and publish the results of a batch, and take its documents off the worker's hands.
--
-- ARGV  1 worker id
--       2 how long a result is kept, ms
--       then for each job, in claim order: id, reply_to, envelope
-- Returns  {word, ...}, one for each job: STORED | LATE (another result was first, or the job was cancelled)
-- Repeat   Safe: every job is LATE the second time, and its document is no longer there to be popped.
-- A worker that was fenced meanwhile may still bring its results: the model is a pure function, so the first
-- result is as good as any; it has no document to pop, which is no error.
local me, ttl_ms = ARGV[1], tonumber(ARGV[2])
local processing = P .. 'processing:' .. me
local words, stored = {}, 0

allow_at_maxmemory()
for i = 3, #ARGV, 3 do
  local id, reply_to, envelope = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local is_first = settle(id, envelope, reply_to, ttl_ms)
  words[#words + 1] = is_first and 'STORED' or 'LATE'
  if is_first then stored = stored + 1 end
  remove(processing, id)
end

if stored > 0 then
  count('completed', stored)
  if redis.call('EXISTS', P .. 'worker:' .. me) == 1 then
    redis.call('HINCRBY', P .. 'worker:' .. me, 'images', stored)
    redis.call('HSET', P .. 'worker:' .. me, 'last_batch', #words)
  end
  -- The drain rate, for Retry-After: jobs and the time they took, both fading by half every 10 s, so that
  -- their quotient follows the load and a pause counts for less and less.
  local now = now_ms()
  local rate = redis.call('HMGET', P .. 'stats', 'drained', 'drained_ms', 'drained_at')
  local drained, drained_ms, at = tonumber(rate[1] or 0), tonumber(rate[2] or 0), tonumber(rate[3] or now)
  local fade = 0.5 ^ ((now - at) / 10000)
  -- A longer gap is an idle queue, which says nothing of how fast a full one drains.
  local busy = math.min(now - at, 5000)
  redis.call('HSET', P .. 'stats', 'drained', drained * fade + stored,
    'drained_ms', drained_ms * fade + busy, 'drained_at', string.format('%.0f', now))
end
return words
