-- prelude: what every script shares; jobqueue.py puts it in front of each of them.
--
-- KEYS[1]  Q, the waiting list. Every other key is derived from it and hashes to its slot; the ids in
--          them are known only once a document has been read, which is why they are not declared.
--
-- An element of any list is a job document: JSON that begins {"id":"<32 hex>","reply_to":"<web id>", ...
-- so its head is read with a pattern; decoding 200 kB of base64 as JSON would block Redis.
--
-- Lua hashes every byte of a string that it is given: 0.2 ms for a document. That is most of what a job costs
-- Redis, so scripts take as few documents into Lua as they can.
local Q = KEYS[1]
local P = '{' .. Q .. '}:'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A Redis at maxmemory refuses a command that may take memory only until the script's first write.
-- This write takes none, so what drains the queue goes on there. (`#!lua flags=allow-oom` says it
-- better and is unknown to Redis 6.2.)
local function allow_at_maxmemory()
  redis.call('HDEL', P .. 'stats', '')
end

-- What each of the queue's keys holds, its lists of one worker and one job left out.
local KINDS = {stats = 'hash', workers = 'zset', gone = 'zset', suspect = 'list', dead = 'list', bulk = 'list'}

-- An error before anything is changed where one of them holds something else: a script that stopped half-way at it
-- would lose what it has in hand. jobqueue.py has mend.lua set that key aside then, unless it is the waiting list.
local function check_kinds()
  local waiting = redis.call('TYPE', Q).ok
  if waiting ~= 'none' and waiting ~= 'list' then error('WRONGTYPE ' .. Q .. ' is a ' .. waiting) end
  for suffix, kind in pairs(KINDS) do
    local found = redis.call('TYPE', P .. suffix).ok
    if found ~= 'none' and found ~= kind then error('WRONGTYPE ' .. P .. suffix .. ' is a ' .. found) end
  end
end

-- A number that somebody may have written over; `otherwise` where it is none.
local function number(text, otherwise)
  local n = tonumber(text)
  if n and n > -1e15 and n < 1e15 then return n end
  return otherwise
end

local function increment(key, field, n)
  local counted = redis.pcall('HINCRBY', key, field, n)
  -- No number, or one that grows no further: it begins again.
  if type(counted) == 'table' and counted.err then redis.pcall('HSET', key, field, n) end
end

local function count(field, n) increment(P .. 'stats', field, n) end

-- True once in so many ms.
local function is_time(key, ms)
  if redis.call('SET', key, '1', 'NX', 'PX', ms) then return true end
  local left = redis.call('PTTL', key)
  -- Not set here: without an end, or with a late one, the time would never come.
  if left < 0 or left > ms then redis.call('PEXPIRE', key, ms) end
  return false
end

-- How many jobs wait: those that somebody waits for, and the others behind them.
local function waiting() return redis.call('LLEN', Q) + redis.call('LLEN', P .. 'bulk') end

local function job_key(id) return P .. 'job:' .. id end

local NUMBERS = {'attempts', 'crashes', 'enqueued', 'deadline'}

-- What the job's hash holds: token ('' for none), attempts, crashes, enqueued, deadline. nil where the job is not known
-- (answered or cancelled); nil and a reason where what is there is no hash of a job.
local function job_of(id)
  local found = redis.pcall('HMGET', job_key(id), 'token', unpack(NUMBERS))
  if found.err then return nil, 'What Redis holds of this job is no hash.' end
  if not found[2] then return nil end
  local job = {token = found[1] or ''}
  for i, field in ipairs(NUMBERS) do
    local text = found[i + 1]
    if not text or #text > 16 or not string.match(text, '^%-?%d+$') then
      return nil, 'What Redis holds of this job has no number for `' .. field .. '`.'
    end
    job[field] = tonumber(text)
  end
  return job
end

-- id, reply_to; nil for what is no document of ours.
local function head_of(document)
  local id, reply_to = string.match(string.sub(document, 1, 300), '^{"id":"(%x+)","reply_to":"([^"]*)"')
  if id and #id == 32 then return id, reply_to end
end

-- A new job, whose document waits; its deadline is timeout_ms after Redis's own now.
local function let_wait(id, timeout_ms, ttl_ms)
  local now = now_ms()
  redis.call('HSET', job_key(id), 'state', 'waiting', 'attempts', 0, 'crashes', 0,
    'enqueued', string.format('%.0f', now), 'deadline', string.format('%.0f', now + timeout_ms))
  redis.call('PEXPIRE', job_key(id), timeout_ms + ttl_ms)
  count('enqueued', 1)
end

-- Stores a job's first result and publishes it; false, and nothing changes, for any later one.
local function answer_first(id, envelope, reply_to, ttl_ms)
  if redis.call('EXISTS', P .. 'result:' .. id) == 1 then return false end
  -- For the job's trace; an envelope is an object that is never empty.
  envelope = string.sub(envelope, 1, -2) .. string.format(',"stored_at":%.0f}', now_ms())
  redis.call('SET', P .. 'result:' .. id, envelope, 'PX', ttl_ms)
  if reply_to ~= '' then redis.call('PUBLISH', P .. 'results:' .. reply_to, envelope) end
  return true
end

-- `answer_first` for a job that is known.
-- No job hash and no result: the job was answered so long ago that both are forgotten. A hash without attempts: it
-- was cancelled.
local function settle(id, envelope, reply_to, ttl_ms)
  local is_known = redis.pcall('HEXISTS', job_key(id), 'attempts') == 1
  redis.call('DEL', job_key(id))
  return is_known and answer_first(id, envelope, reply_to, ttl_ms)
end

local function error_envelope(id, code, message)
  return '{"id":"' .. id .. '","error":' .. cjson.encode({code = code, message = message}) .. '}'
end

-- A document that no model sees: its time ran out (`expired`), or what is left of it is too short (`too_late`).
local function expire(id, reply_to, ttl_ms, field, message)
  local envelope = error_envelope(id, 'deadline_exceeded', message or 'The deadline passed while the job waited.')
  if settle(id, envelope, reply_to, ttl_ms) then count(field or 'expired', 1) end
end

-- Keeps a document that was given up, for people; the list is capped, images are large.
local function bury(document, reason, max_dead)
  redis.call('LPUSH', P .. 'dead', '{"at":' .. string.format('%.0f', now_ms()) .. ',"reason":'
    .. cjson.encode(reason) .. ',"document":' .. cjson.encode(document) .. '}')
  redis.call('LTRIM', P .. 'dead', 0, max_dead - 1)
  count('dead', 1)
end

-- Gives up a job of whose hash nothing can be made: its client is answered at once, its document kept.
local function give_up(id, document, reason, reply_to, ttl_ms, max_dead)
  redis.call('DEL', job_key(id))
  if answer_first(id, error_envelope(id, 'job_failed', reason), reply_to, ttl_ms) then
    count('failed', 1)
    bury(document, reason, max_dead)
  end
end

-- Takes the document with this id out of a list; its head, nearly always.
local function remove(list, id)
  local head = redis.call('LPOP', list)
  if not head then return nil end
  if head_of(head) == id then return head end
  redis.call('LPUSH', list, head)
  for _, document in ipairs(redis.call('LRANGE', list, 1, -1)) do
    if head_of(document) == id then
      redis.call('LREM', list, 1, document)
      return document
    end
  end
end
