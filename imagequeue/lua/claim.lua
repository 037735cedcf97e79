-- claim: give a worker its next batch, and stamp each job in it.
--
-- The worker's processing list may already hold documents: the one that the doorbell (BLMOVE) moved, or what
-- a claim moved whose answer was lost. They are adopted; only then is the batch topped up from the queue.
--
-- ARGV  1 worker id
--       2 lease, ms
--       3 token: new for each claim, the same when a claim is repeated
--       4 most jobs in the batch
--       5 how many documents at the head of the processing list the worker has in hand from earlier claims
--       6 how long a result is kept, ms
--       7 most documents in `dead`
--       8 how long the model takes for one job, ms; 0 if unknown
--       9 and for each more of a batch
--      10 for how long it is busy with what is in hand
-- Returns  {'FENCED'} when the worker has no lease: it was reaped; drop all in hand and take a new id.
--          Its bell may have rung since, though nobody has looked after its list for a while: so it is swept again
--          {'OK', now ms, document, enqueued ms, attempts, crashes, ...}, four for each job
-- Repeat   Safe: the same documents come back, and an attempt is counted once for each token.
-- Dropped  here, unseen by the model: jobs that have a result (cancelled ones too), jobs past their deadline, and those
--          with less time left than any live worker takes for one; and, into `dead`, what is no document, and jobs whose
--          hash is none.
-- Left     where it is: a job that a faster worker would answer in time. A batch ends before a job that would be late in
--          it, and in time in one of its own.
local me, lease_ms, token, limit = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local held, ttl_ms, max_dead = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local one_ms, more_ms, ahead_ms = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local processing = P .. 'processing:' .. me
local now = now_ms()

check_kinds()
allow_at_maxmemory()
if not redis.call('ZSCORE', P .. 'workers', me) then
  redis.call('ZADD', P .. 'gone', now, me)
  return {'FENCED'}
end
redis.call('ZADD', P .. 'workers', now + lease_ms, me)
if one_ms > 0 and redis.call('EXISTS', P .. 'worker:' .. me) == 1 then
  redis.pcall('HSET', P .. 'worker:' .. me, 'one_ms', string.format('%.1f', one_ms))
end

local batch, size, holds_suspect, is_closed, is_repeat = {'OK', now}, 0, false, false, false

-- How many jobs may be in the batch so that one with so many ms left is answered in time.
local function most_beside(left_ms)
  if one_ms <= 0 then return limit end
  local spare = left_ms - ahead_ms - one_ms
  if spare < 0 then return 0 end
  return more_ms > 0 and 1 + math.floor(spare / more_ms) or limit
end

-- Whether another live worker takes no longer than that for one job, or nobody knows how long it takes.
local function is_faster_elsewhere(left_ms)
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. now, '+inf')) do
    local takes = worker ~= me and redis.pcall('HGET', P .. 'worker:' .. worker, 'one_ms')
    if worker ~= me and number(type(takes) == 'string' and takes, 0) <= left_ms then return true end
  end
  return false
end

-- Puts a document of the processing list into the batch: TAKEN; GONE when it must be dropped from the list; LATER when
-- the batch ends before it, and ASIDE when it is for another worker: both go back to the head of the queue.
local TAKEN, GONE, LATER, ASIDE = 1, 2, 3, 4
local function accept(document)
  local id, reply_to = head_of(document)
  if not id then
    bury(document, 'no job document', max_dead)
    return GONE
  end
  local job, wrong = job_of(id)
  if wrong then give_up(id, document, wrong, reply_to, ttl_ms, max_dead) end
  if not job then return GONE end
  if redis.call('EXISTS', P .. 'result:' .. id) == 1 then
    redis.call('DEL', job_key(id))
    return GONE
  end
  if job.deadline <= now then
    expire(id, reply_to, ttl_ms)
    return GONE
  end
  local attempts = job.attempts
  if job.token == token then
    is_repeat = true
  else
    local left_ms = job.deadline - now
    local most = most_beside(left_ms)
    if most == 0 then
      if is_faster_elsewhere(left_ms) then return ASIDE end
      expire(id, reply_to, ttl_ms, 'too_late', 'Too little time was left to compute the image before its deadline.')
      return GONE
    end
    if most <= size then
      is_closed = true
      return LATER
    end
    limit = math.min(limit, most)
    attempts = redis.call('HINCRBY', job_key(id), 'attempts', 1)
    redis.call('HSET', job_key(id), 'token', token, 'state', 'claimed', 'worker', me)
  end
  holds_suspect = holds_suspect or job.crashes > 0
  size = size + 1
  batch[#batch + 1] = document
  batch[#batch + 1] = job.enqueued
  batch[#batch + 1] = attempts
  batch[#batch + 1] = job.crashes
  return TAKEN
end

-- A document that was suspected once is computed alone: if it kills again, it kills no other.
local function is_complete() return size >= limit or holds_suspect or is_closed end

local function is_suspect(document)
  local id = head_of(document)
  local job = id and job_of(id)
  return job and job.crashes > 0
end

-- Those for another worker, in their order; each costs a look, so no more than these.
local aside, MOST_ASIDE = {}, 32

-- The document is the last of the processing list, and need not stay there.
local function settle_last(verdict)
  if verdict == GONE then
    redis.call('RPOP', processing)
  elseif verdict == LATER then
    redis.call('LMOVE', processing, Q, 'RIGHT', 'LEFT')
  elseif verdict == ASIDE then
    aside[#aside + 1] = redis.call('RPOP', processing)
    is_closed = #aside >= MOST_ASIDE
  end
end

for _, document in ipairs(redis.call('LRANGE', processing, held, -1)) do
  if is_complete() or (size > 0 and is_suspect(document)) then break end
  local verdict = accept(document)
  if verdict ~= TAKEN then redis.call('LREM', processing, -1, document) end
  if verdict == LATER or verdict == ASIDE then aside[#aside + 1] = document end
end
-- The worker has had its batch already, but not the answer: it gets that and no more.
is_closed = is_closed or is_repeat

-- Suspects before the queue, one at a time: constant load must not starve them.
while size == 0 and held == 0 and not is_closed do
  local document = redis.call('LMOVE', P .. 'suspect', processing, 'LEFT', 'RIGHT')
  if not document then break end
  local verdict = accept(document)
  if verdict == LATER or verdict == ASIDE then
    redis.call('LMOVE', processing, P .. 'suspect', 'RIGHT', 'LEFT')
    break
  end
  settle_last(verdict)
end

-- Jobs that nobody waits for take what the others leave, and one place in so many, so that they never starve.
local bulk, PLACES = P .. 'bulk', 16
local has_bulk, from_queue = redis.call('LLEN', bulk) > 0, 0

local function take_bulk(most)
  while most > 0 and not is_complete() do
    local document = redis.call('LMOVE', bulk, processing, 'LEFT', 'RIGHT')
    if not document then return end
    local verdict = accept(document)
    if verdict == LATER or verdict == ASIDE then
      redis.call('LMOVE', processing, bulk, 'RIGHT', 'LEFT')
      return
    end
    if verdict == GONE then redis.call('RPOP', processing) end
    if verdict == TAKEN then
      most = most - 1
      redis.call('HSET', P .. 'stats', 'since_bulk', 0)
    end
  end
end

if has_bulk and number(redis.call('HGET', P .. 'stats', 'since_bulk'), 0) >= PLACES - 1 then take_bulk(1) end
while not is_complete() do
  local document = redis.call('LMOVE', Q, processing, 'LEFT', 'RIGHT')
  if not document then break end
  local verdict = accept(document)
  if verdict == TAKEN then from_queue = from_queue + 1 end
  settle_last(verdict)
end
if has_bulk and from_queue > 0 then count('since_bulk', from_queue) end
if has_bulk then take_bulk(limit) end
for i = #aside, 1, -1 do redis.call('LPUSH', Q, aside[i]) end
return batch
