-- mend: set aside what has come under one of the queue's keys and is of another type than the queue's.
--
-- ARGV 1 for how long it is kept, ms, under `wrong:` and the rest of its key
--      2 one worker's id, or '': its list is looked at too, if it has no lease
-- Returns  {key, the type that was found, key, ...} of what was set aside
-- Repeat   Safe: the second time there is nothing left to set aside.
-- Never    the waiting list: its name is a setting, and what lies there may be somebody's.
local keep_ms, me = tonumber(ARGV[1]), ARGV[2]
local moved = {}

local function mend(suffix, kind)
  local found = redis.call('TYPE', P .. suffix).ok
  if found == 'none' or found == kind then return end
  redis.call('RENAME', P .. suffix, P .. 'wrong:' .. suffix)
  redis.call('PEXPIRE', P .. 'wrong:' .. suffix, keep_ms)
  moved[#moved + 1] = P .. suffix
  moved[#moved + 1] = found
end

for suffix, kind in pairs(KINDS) do mend(suffix, kind) end

local function mend_worker(worker)
  mend('processing:' .. worker, 'list')
  mend('worker:' .. worker, 'hash')
end

for _, set in ipairs({'workers', 'gone'}) do
  for _, worker in ipairs(redis.call('ZRANGE', P .. set, 0, -1)) do mend_worker(worker) end
end
if me ~= '' then mend_worker(me) end
return moved
