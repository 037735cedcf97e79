-- enqueue: accept the job whose document is the last of the waiting list, or take it off and say why.
--
-- Sent in one transaction with the RPUSH before it, so that nobody sees a document that is not accepted, and Lua sees
-- it only if it is refused: see the prelude for what a look costs.
--
-- ARGV  1 its id
--       2 timeout, ms: the deadline is that long after Redis's own now
--       3 most documents that may wait
--       4 most bytes that may wait; 0 for no such limit
--       5 '1' to refuse when no worker has a live lease
--       6 how long a result is kept, ms
--       7 how many bytes the document has
-- Returns  {word, depth, drained, since}: OK | DUPLICATE | DONE | FULL | NO_WORKERS, the length of the waiting
--          list, and the drain rate as jobs per so many ms ('0' when nothing was drained yet).
-- Repeat   Safe, RPUSH and all: the second time finds the job (DUPLICATE) or its result (DONE) and takes the second
--          document off again. Both mean that the job was accepted.
-- Memory   At maxmemory RPUSH is refused and with it the transaction, so a full Redis takes no new jobs.
local id, timeout_ms = ARGV[1], tonumber(ARGV[2])
local max_length, max_bytes, needs_worker, ttl_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local size = tonumber(ARGV[7])
local now = now_ms()

local function answer(word)
  local rate = redis.call('HMGET', P .. 'stats', 'drained', 'drained_ms')
  return {word, redis.call('LLEN', Q), tostring(number(rate[1], 0)), tostring(number(rate[2], 0))}
end

-- The document is not to wait. Looked at first: were RPUSH refused alone, the last one would be somebody else's.
local function without_it(word)
  local last = redis.call('LINDEX', Q, -1)
  if last and head_of(last) == id then redis.call('LTRIM', Q, 0, -2) end
  return answer(word)
end

local function is_full()
  local depth = redis.call('LLEN', Q)
  -- Every document of a deployment carries an image of the same size, so one stands for all.
  return depth > max_length or (max_bytes > 0 and depth * size > max_bytes)
end

check_kinds()
if redis.call('EXISTS', P .. 'result:' .. id) == 1 then return without_it('DONE') end
if redis.call('EXISTS', job_key(id)) == 1 then return without_it('DUPLICATE') end
if needs_worker == '1' and redis.call('ZCOUNT', P .. 'workers', '(' .. now, '+inf') == 0 then
  return without_it('NO_WORKERS')
end

-- Room first comes from those whose clients have gone. All jobs have the same timeout as a rule, so the
-- oldest, at the head, end first. Looked for ten times a second at most: refusing must stay cheap.
if is_full() and is_time(P .. 'dropping', 100) then
  while is_full() do
    local oldest = redis.call('LINDEX', Q, 0)
    local oldest_id, reply_to
    if oldest then oldest_id, reply_to = head_of(oldest) end
    if not oldest_id or oldest_id == id then break end
    local job, wrong = job_of(oldest_id)
    -- One that is not known was cancelled or answered; one of whose hash nothing can be made is for claim to give up.
    if wrong or (job and job.deadline > now) then break end
    redis.call('LTRIM', Q, 1, -1)
    expire(oldest_id, reply_to, ttl_ms)
  end
end
if is_full() then
  count('refused', 1)
  return without_it('FULL')
end

let_wait(id, timeout_ms, ttl_ms)
return answer('OK')
