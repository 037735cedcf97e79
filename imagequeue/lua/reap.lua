-- reap: bring back what workers held whose lease has ended.
--
-- ARGV  1 no reaping sooner than this after the last, ms
--       2 crashes at which a job is given up
--       3 how long a result is kept, ms
--       4 most documents in `dead`
--       5 a worker id whose process is known to be dead, or ''
-- Returns  {suspects waiting, workers reaped, jobs handed back, jobs given up}
-- Repeat   Safe: a reaped worker's list is empty and its lease gone.
--
-- Jobs that were never stamped go back to the head of the queue. Stamped ones may have killed their worker:
-- each is charged a crash and becomes a suspect, or is failed once it has had its share.
--
-- A BLMOVE whose connection broke half-way can still move a document to a list whose owner was reaped or has
-- left, up to its block time later. So ids stay in `gone` for a minute and their lists are swept again. A worker that
-- was frozen for longer rings once more before it hears that it is fenced, which puts its id there again.
local interval_ms, max_crashes = tonumber(ARGV[1]), tonumber(ARGV[2])
local ttl_ms, max_dead, victim = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local GONE_MS = 60000
local now = now_ms()
local reaped, returned, convicted = 0, 0, 0

check_kinds()
allow_at_maxmemory()

local function convict(id, document, crashes, reply_to)
  local reason = 'Its worker died ' .. crashes .. ' times while holding this image.'
  if settle(id, error_envelope(id, 'job_failed', reason), reply_to, ttl_ms) then
    count('convicted', 1)
    bury(document, reason, max_dead)
    convicted = convicted + 1
  end
end

local function sweep(worker)
  local processing = P .. 'processing:' .. worker
  local unstamped = {}
  while true do
    local document = redis.call('LPOP', processing)
    if not document then break end
    local id, reply_to = head_of(document)
    local job, wrong
    if id then job, wrong = job_of(id) end
    if not id then
      bury(document, 'no job document', max_dead)
    elseif wrong then
      give_up(id, document, wrong, reply_to, ttl_ms, max_dead)
    elseif not job or job.token == '' then
      unstamped[#unstamped + 1] = document
    else
      local crashes = redis.call('HINCRBY', job_key(id), 'crashes', 1)
      redis.call('HDEL', job_key(id), 'token', 'worker')
      redis.call('HSET', job_key(id), 'state', 'suspect')
      count('crashes', 1)
      if crashes >= max_crashes then
        convict(id, document, crashes, reply_to)
      else
        redis.call('RPUSH', P .. 'suspect', document)
        returned = returned + 1
      end
    end
  end
  for i = #unstamped, 1, -1 do redis.call('LPUSH', Q, unstamped[i]) end
  returned = returned + #unstamped
end

local function bury_worker(worker)
  if redis.call('ZREM', P .. 'workers', worker) == 0 then return end
  sweep(worker)
  redis.call('ZADD', P .. 'gone', now, worker)
  redis.call('DEL', P .. 'worker:' .. worker)
  reaped = reaped + 1
end

if victim ~= '' then bury_worker(victim) end
if is_time(P .. 'reaping', interval_ms) then
  -- Ten at a time, so that the death of a whole fleet does not stop Redis for long.
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now, 'LIMIT', 0, 10)) do
    bury_worker(worker)
  end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'gone', '-inf', '+inf', 'LIMIT', 0, 100)) do
    sweep(worker)
    local left = number(redis.call('ZSCORE', P .. 'gone', worker), 0)
    -- An instant to come is not one of ours: it would keep its id for as long.
    if now - left > GONE_MS or left > now + GONE_MS then redis.call('ZREM', P .. 'gone', worker) end
  end
end
return {redis.call('LLEN', P .. 'suspect'), reaped, returned, convicted}
