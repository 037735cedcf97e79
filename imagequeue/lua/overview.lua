-- overview: what people and monitors want to see of the queue, in one look. Reads only.
--
-- Returns  {now ms, waiting, suspects, the oldest waiting job's enqueued ms or false, documents in `dead`,
--           {field, value, ...} of the counters,
--           {{worker id, lease end ms, {field, value, ...}}, ...},
--           how many of those that wait nobody waits for}
-- Repeat   Safe: nothing changes.
-- Cost     A document goes through Lua for each list that is not empty (see the prelude: 0.2 ms), because its id is
--          needed; keeping the instants in a sorted set would cost two commands for each job instead.
local function enqueued_at(list)
  local document = redis.pcall('LINDEX', list, 0)
  local id = type(document) == 'string' and head_of(document)
  -- A cancelled job's hash has only that; its document still waits.
  local enqueued = id and redis.pcall('HGET', job_key(id), 'enqueued')
  return type(enqueued) == 'string' and number(enqueued)
end

-- What a key of another type than its own has to show: nothing.
local function or_none(answer) return not (type(answer) == 'table' and answer.err) and answer or {} end
local function length(list) return tonumber(redis.pcall('LLEN', list)) or 0 end

local suspects = P .. 'suspect'
local bulk = P .. 'bulk'
local oldest = false
for _, list in ipairs({Q, bulk, suspects}) do
  local enqueued = enqueued_at(list)
  oldest = enqueued and oldest and math.min(enqueued, oldest) or enqueued or oldest
end

local workers = {}
local leases = or_none(redis.pcall('ZRANGE', P .. 'workers', 0, -1, 'WITHSCORES'))
for i = 1, #leases, 2 do
  local facts = or_none(redis.pcall('HGETALL', P .. 'worker:' .. leases[i]))
  workers[#workers + 1] = {leases[i], number(leases[i + 1], 0), facts}
end
return {now_ms(), length(Q) + length(bulk), length(suspects), oldest, length(P .. 'dead'), or_none(redis.pcall('HGETALL', P .. 'stats')),
  workers, length(bulk)}
