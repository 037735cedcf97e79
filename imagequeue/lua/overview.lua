-- overview: what people and monitors want to see of the queue, in one look. Reads only.
--
-- Returns  {now ms, waiting, suspects, the oldest waiting job's enqueued ms or false, documents in `dead`,
--           {field, value, ...} of the counters,
--           {{worker id, lease end ms, {field, value, ...}}, ...}}
-- Repeat   Safe: nothing changes.
-- Cost     A document goes through Lua for each list that is not empty (see the prelude: 0.2 ms), because its id is
--          needed; keeping the instants in a sorted set would cost two commands for each job instead.
local function enqueued_at(list)
  local document = redis.call('LINDEX', list, 0)
  local id = document and head_of(document)
  return id and tonumber(redis.call('HGET', job_key(id), 'enqueued'))
end

local suspects = P .. 'suspect'
local waits, suspected = enqueued_at(Q), enqueued_at(suspects)
local oldest = waits and suspected and math.min(waits, suspected) or waits or suspected or false

local workers = {}
local leases = redis.call('ZRANGE', P .. 'workers', 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  workers[#workers + 1] = {leases[i], tonumber(leases[i + 1]), redis.call('HGETALL', P .. 'worker:' .. leases[i])}
end
return {now_ms(), redis.call('LLEN', Q), redis.call('LLEN', suspects), oldest, redis.call('LLEN', P .. 'dead'),
  redis.call('HGETALL', P .. 'stats'), workers}
