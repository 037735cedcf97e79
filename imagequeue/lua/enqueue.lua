-- enqueue: accept one job, or say why not.
--
-- ARGV  1 document, as Job.encode makes it: {"id":"<32 hex>","reply_to":...
--       2 timeout, ms: the deadline is that long after Redis's own now
--       3 most documents that may wait
--       4 most bytes that may wait; 0 for no such limit
--       5 '1' to refuse when no worker has a live lease
--       6 how long a result is kept, ms
-- Returns  {word, depth, drained, since}: OK | DUPLICATE | DONE | FULL | NO_WORKERS, the length of the waiting
--          list, and the drain rate as jobs per so many ms ('0' when nothing was drained yet).
-- Repeat   Safe: the second call finds the job (DUPLICATE) or its result (DONE) and changes nothing. Both
--          mean that the job was accepted.
-- Memory   At maxmemory the first write is refused, so a full Redis takes no new jobs.
local document, timeout_ms = ARGV[1], tonumber(ARGV[2])
local max_length, max_bytes, needs_worker, ttl_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local id = string.sub(document, 8, 39)
local now = now_ms()

local function answer(word)
  local rate = redis.call('HMGET', P .. 'stats', 'drained', 'drained_ms')
  return {word, redis.call('LLEN', Q), rate[1] or '0', rate[2] or '0'}
end

local function is_full()
  local depth = redis.call('LLEN', Q)
  -- Every document of a deployment carries an image of the same size, so one stands for all.
  return depth >= max_length or (max_bytes > 0 and (depth + 1) * #document > max_bytes)
end

if redis.call('EXISTS', P .. 'result:' .. id) == 1 then return answer('DONE') end
if redis.call('EXISTS', job_key(id)) == 1 then return answer('DUPLICATE') end
if needs_worker == '1' and redis.call('ZCOUNT', P .. 'workers', '(' .. now, '+inf') == 0 then
  return answer('NO_WORKERS')
end

-- Room first comes from those whose clients have gone. All jobs have the same timeout as a rule, so the
-- oldest, at the head, end first. Looked for ten times a second at most: refusing must stay cheap.
if is_full() and redis.call('SET', P .. 'dropping', '1', 'NX', 'PX', 100) then
  while is_full() do
    local oldest = redis.call('LINDEX', Q, 0)
    local oldest_id, reply_to
    if oldest then oldest_id, reply_to = head_of(oldest) end
    if not oldest_id then break end
    local job = redis.call('HMGET', job_key(oldest_id), 'deadline', 'attempts')
    -- Without attempts it was cancelled, without a hash answered.
    if job[2] and tonumber(job[1]) > now then break end
    redis.call('LPOP', Q)
    expire(oldest_id, reply_to, ttl_ms)
  end
end
if is_full() then
  local full = answer('FULL')
  count('refused', 1)
  return full
end

let_wait(document, id, timeout_ms, ttl_ms)
return answer('OK')
