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
--          that would be past it when their batch is computed; and, into `dead`, what is no document, and jobs whose hash
--          is none. A batch takes no more jobs than leave its most urgent one in time.
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

local batch, size, holds_suspect = {'OK', now}, 0, false

-- How many jobs may be in the batch so that one with so many ms left is answered in time.
local function most_beside(left_ms)
  if one_ms <= 0 then return limit end
  local spare = left_ms - ahead_ms - one_ms
  if spare < 0 then return 0 end
  return more_ms > 0 and 1 + math.floor(spare / more_ms) or limit
end

-- Puts a document of the processing list into the batch; false when it must be dropped from the list.
local function accept(document)
  local id, reply_to = head_of(document)
  if not id then
    bury(document, 'no job document', max_dead)
    return false
  end
  local job, wrong = job_of(id)
  if wrong then give_up(id, document, wrong, reply_to, ttl_ms, max_dead) end
  if not job then return false end
  if redis.call('EXISTS', P .. 'result:' .. id) == 1 then
    redis.call('DEL', job_key(id))
    return false
  end
  if job.deadline <= now then
    expire(id, reply_to, ttl_ms)
    return false
  end
  local attempts = job.attempts
  if job.token ~= token then
    local most = most_beside(job.deadline - now)
    if most <= size then
      expire(id, reply_to, ttl_ms, 'too_late', 'Too little time was left to compute the image before its deadline.')
      return false
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
  return true
end

-- A document that was suspected once is computed alone: if it kills again, it kills no other.
local function is_complete() return size >= limit or holds_suspect end

local function is_suspect(document)
  local id = head_of(document)
  local job = id and job_of(id)
  return job and job.crashes > 0
end

for _, document in ipairs(redis.call('LRANGE', processing, held, -1)) do
  if is_complete() or (size > 0 and is_suspect(document)) then break end
  if not accept(document) then redis.call('LREM', processing, -1, document) end
end

-- Suspects before the queue, one at a time: constant load must not starve them.
while size == 0 and held == 0 do
  local document = redis.call('LMOVE', P .. 'suspect', processing, 'LEFT', 'RIGHT')
  if not document then break end
  if not accept(document) then redis.call('RPOP', processing) end
end

while not is_complete() do
  local document = redis.call('LMOVE', Q, processing, 'LEFT', 'RIGHT')
  if not document then break end
  if not accept(document) then redis.call('RPOP', processing) end
end
return batch
