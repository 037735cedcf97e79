-- fail: give one job up. Its client hears of it at once; its document is kept in `dead` with the reason.
--
-- ARGV  1 worker id    2 how long a result is kept, ms    3 most documents in `dead`
--       4 job id       5 reply_to    6 error envelope     7 reason, for people
-- Returns  STORED | LATE, as complete does
-- Repeat   Safe: the document is buried only by the call that still finds it in the processing list.
local me, ttl_ms, max_dead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local id, reply_to, envelope, reason = ARGV[4], ARGV[5], ARGV[6], ARGV[7]

check_kinds()
allow_at_maxmemory()
local document = remove(P .. 'processing:' .. me, id)
local is_first = settle(id, envelope, reply_to, ttl_ms)
if is_first then
  count('failed', 1)
  if document then bury(document, reason, max_dead) end
end
return is_first and 'STORED' or 'LATE'
