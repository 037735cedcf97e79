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
--       8 how long a job should wait while more come than are computed, ms; 0 for a job that nobody waits for: it may
--         wait up to its deadline, behind the others (in `bulk`)
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
-- At a time: each costs a look.
local MOST_DROPPED = 100
-- That of the whole fleet, and how many may wait by it; 0 while unknown.
local each, most = 0, 0

local function answer(word)
  return {word, waiting(), tostring(each), most}
end

-- The document is not to wait. Looked at first: were RPUSH refused alone, the last one would be somebody else's.
local function without_it(word)
  local last = redis.call('LINDEX', Q, -1)
  if last and head_of(last) == id then redis.call('LTRIM', Q, 0, -2) end
  return answer(word)
end

local function is_full()
  local depth = waiting()
  -- Every document of a deployment carries an image of the same size, so one stands for all.
  return depth > max_length or (max_bytes > 0 and depth * size > max_bytes)
end

-- What a live worker takes for each of the jobs that wait, ms, as measured lately; nil while unknown.
local function ms_of_one(stats)
  local jobs, ms, batches = number(stats.busy_jobs, 0), number(stats.busy_ms, 0), number(stats.busy_batches, 0)
  if jobs <= 0 or ms <= 0 then return nil end
  local measured, full = ms / jobs, number(stats.full_ms, 0)
  -- Small batches say little of full ones, which those that wait will be computed in.
  local are_small = batches > 0 and jobs / batches < number(stats.batch_limit, 1) / 2
  return are_small and full > 0 and math.min(measured, full) or measured
end

-- Of those that wait, or lie in a live worker's hands.
local function in_hands(workers)
  local sum = 0
  for _, worker in ipairs(workers) do
    local length = redis.pcall('LLEN', P .. 'processing:' .. worker)
    if type(length) == 'number' then sum = sum + length end
  end
  return sum
end

-- True if this job must not wait, by time. Sets `each` and `most`.
local function is_late(workers)
  local fields = {'busy_jobs', 'busy_ms', 'busy_batches', 'busy_at', 'batch_limit', 'full_ms', 'standing_since'}
  local stats = {}
  for i, value in ipairs(redis.call('HMGET', P .. 'stats', unpack(fields))) do stats[fields[i]] = value end
  local of_one = #workers > 0 and ms_of_one(stats)
  if not of_one then return false end
  each = of_one / #workers
  -- A job that somebody waits for has to wait for none of the others.
  local depth, held = target_ms > 0 and redis.call('LLEN', Q) or waiting(), in_hands(workers)
  -- What was claimed is partly computed by now.
  local begun = math.max(0, math.min(now - number(stats.busy_at, now), held * each))
  -- The last batch is computed by one worker, whatever the others do meanwhile.
  local batch = math.max(1, number(stats.batch_limit, 1))
  local rest = held * each - begun + math.min(depth, batch) * (of_one - each)
  local wait = depth * each + rest
  local bound = SAFETY * timeout_ms
  -- Two batches: one that is computed and one that waits, else batches would not be full.
  local standing_ms = math.min(math.max(target_ms, 2 * batch * of_one), bound)
  if target_ms > 0 then
    local since = number(stats.standing_since, nil)
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
  return wait > bound and depth + held > 1
end

check_kinds()
if redis.call('EXISTS', P .. 'result:' .. id) == 1 then return without_it('DONE') end
if redis.call('EXISTS', job_key(id)) == 1 then return without_it('DUPLICATE') end
local workers = redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. now, '+inf')
if needs_worker == '1' and #workers == 0 then return without_it('NO_WORKERS') end

local late = is_late(workers)

-- Room first comes from those whose clients have gone. All jobs have the same timeout as a rule, so the
-- oldest, at the head, end first. Looked for ten times a second at most: refusing must stay cheap.
if (late or is_full()) and is_time(P .. 'dropping', 100) then
  local dropped = 0
  while true do
    local oldest = redis.call('LINDEX', Q, 0)
    local oldest_id, reply_to
    if oldest then oldest_id, reply_to = head_of(oldest) end
    if not oldest_id or oldest_id == id then break end
    local job, wrong = job_of(oldest_id)
    -- One that is not known was cancelled or answered; one of whose hash nothing can be made is for claim to give up.
    if wrong or (job and job.deadline > now) then break end
    redis.call('LTRIM', Q, 1, -1)
    expire(oldest_id, reply_to, ttl_ms)
    dropped = dropped + 1
    if not (late or is_full()) or dropped >= MOST_DROPPED then break end
  end
  if dropped > 0 then late = is_late(workers) end
end
if late or is_full() then
  count('refused', 1)
  return without_it(is_full() and 'FULL' or 'LATE')
end

let_wait(id, timeout_ms, ttl_ms)
-- Alone it stays: the doorbell rings for this list only, and whoever finds the other one full has not waited for it.
if target_ms == 0 and redis.call('LLEN', Q) > 1 then redis.call('LMOVE', Q, P .. 'bulk', 'RIGHT', 'RIGHT') end
return answer('OK')
