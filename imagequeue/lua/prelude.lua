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

local function count(field, n)
  redis.call('HINCRBY', P .. 'stats', field, n)
end

local function job_key(id) return P .. 'job:' .. id end

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

-- Stores the first result of a job and publishes it; false, and nothing changes, for any later one.
-- No job hash and no result: the job was answered so long ago that both are forgotten. A hash without attempts: it
-- was cancelled.
local function settle(id, envelope, reply_to, ttl_ms)
  local is_known = redis.call('HEXISTS', job_key(id), 'attempts') == 1
  redis.call('DEL', job_key(id))
  if not is_known or redis.call('EXISTS', P .. 'result:' .. id) == 1 then return false end
  -- For the job's trace; an envelope is an object that is never empty.
  envelope = string.sub(envelope, 1, -2) .. string.format(',"stored_at":%.0f}', now_ms())
  redis.call('SET', P .. 'result:' .. id, envelope, 'PX', ttl_ms)
  if reply_to ~= '' then redis.call('PUBLISH', P .. 'results:' .. reply_to, envelope) end
  return true
end

local function error_envelope(id, code, message)
  return '{"id":"' .. id .. '","error":' .. cjson.encode({code = code, message = message}) .. '}'
end

-- A document whose time ran out before a model saw it.
local function expire(id, reply_to, ttl_ms)
  if settle(id, error_envelope(id, 'deadline_exceeded', 'The deadline passed while the job waited.'),
      reply_to, ttl_ms) then
    count('expired', 1)
  end
end

-- Keeps a document that was given up, for people; the list is capped, images are large.
local function bury(document, reason, max_dead)
  redis.call('LPUSH', P .. 'dead', '{"at":' .. string.format('%.0f', now_ms()) .. ',"reason":'
    .. cjson.encode(reason) .. ',"document":' .. cjson.encode(document) .. '}')
  redis.call('LTRIM', P .. 'dead', 0, max_dead - 1)
  count('dead', 1)
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
