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
--       8 how long a job should wait while more come than are computed, ms; 0: up to its deadline
--       9 how long a burst may make them wait longer, ms
-- Returns  {word, depth, each, most}: OK | DUPLICATE | DONE | FULL | LATE | NO_WORKERS, the length of the waiting
--          list, the ms that the fleet takes for each job ('0' while that is unknown), and how many may wait now
--          (0 for as many as 3 says).
-- Repeat   Safe, RPUSH and all: the second time finds the job (DUPLICATE) or its result (DONE) and takes the second
--          document off again. Both mean that the job was accepted.
-- Memory   At maxmemory RPUSH is refused and with it the transaction, so a full Redis takes no new jobs.
--
-- LATE: by the drain rate (see complete) the job would not be answered before its deadline, and to compute it would
-- only make the next ones late as well; or it would, but more have been coming than are computed for longer than a
-- burst lasts, and a queue that stands serves nobody: as many are answered with a short one. That bound holds until
-- the queue has fallen to half of it, else it would be lifted each time that a batch is claimed.
local id, timeout_ms = ARGV[1], tonumber(ARGV[2])
local max_length, max_bytes, needs_worker, ttl_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local size, target_ms, burst_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_ms()
-- An estimate is not exact, and an answer needs a moment on its way back.
local SAFETY = 0.9
-- That of the whole fleet, and how many may wait by it; 0 while unknown.
local each, most = 0, 0

local function answer(word)
  return {word, redis.call('LLEN', Q), tostring(each), most}
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

-- True if this job must not wait, by time. Sets `each` and `most`.
local function is_late(workers)
  local rate = redis.call('HMGET', P .. 'stats', 'drained', 'drained_ms', 'drained_at', 'batch_limit', 'standing_since')
  local drained, drained_ms = number(rate[1], 0), number(rate[2], 0)
  if #workers == 0 or drained <= 0 or drained_ms <= 0 then return false end
  local of_one = drained_ms / drained
  each = of_one / #workers
  local depth, in_hand = redis.call('LLEN', Q), 0
  for _, worker in ipairs(workers) do
    local length = redis.pcall('LLEN', P .. 'processing:' .. worker)
    if type(length) == 'number' then in_hand = in_hand + length end
  end
  -- What was claimed is partly computed by now.
  local begun = math.max(0, math.min(now - number(rate[3], now), in_hand * each))
  -- The last batch is computed by one worker, whatever the others do meanwhile.
  local batch = math.max(1, number(rate[4], 1))
  local alone = math.min(depth, batch) * (of_one - each)
  local rest = in_hand * each - begun + alone
  local wait = depth * each + rest
  -- Two batches: one that is computed and one that waits, else batches would not be full.
  local standing_ms = math.min(math.max(target_ms, 2 * batch * of_one), SAFETY * timeout_ms)
  local bound = SAFETY * timeout_ms
  if target_ms > 0 then
    local since = number(rate[5], nil)
    if wait <= standing_ms / 2 then
      if since then redis.call('HDEL', P .. 'stats', 'standing_since') end
    elseif wait > standing_ms and (not since or since > now) then
      redis.call('HSET', P .. 'stats', 'standing_since', string.format('%.0f', now))
    elseif since and now - since > burst_ms then
      bound = standing_ms
    end
  end
  most = math.max(1, math.floor((bound - rest) / each))
  -- One is always let in where nothing else is: were the rate wrong, nothing else would show it.
  return wait > bound and depth + in_hand > 1
end

check_kinds()
if redis.call('EXISTS', P .. 'result:' .. id) == 1 then return without_it('DONE') end
if redis.call('EXISTS', job_key(id)) == 1 then return without_it('DUPLICATE') end
local workers = redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. now, '+inf')
if needs_worker == '1' and #workers == 0 then return without_it('NO_WORKERS') end

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
local late = is_late(workers)
if late or is_full() then
  count('refused', 1)
  return without_it(is_full() and 'FULL' or 'LATE')
end

let_wait(id, timeout_ms, ttl_ms)
return answer('OK')
