-- KEYS: the limit, its members. ARGV: "open"; "close", seconds; or "take", seconds a departure uses
-- (0: no ceiling), burst, wanted, member. Answers are texts: a script's numbers lose their fraction.
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local state = redis.call('HMGET', KEYS[1], 'used', 'closed', 'touched')
local used, closed = tonumber(state[1]) or 0, tonumber(state[2]) or 0 -- not closed: 0
if (tonumber(state[3]) or 0) > now + 1 then -- the server's clock was set back
  redis.call('DEL', KEYS[1], KEYS[2])
  used, closed = 0, 0
end
local answer = 1
if ARGV[1] == 'open' then
  closed = 0
elseif ARGV[1] == 'close' then
  closed = math.max(closed, now + tonumber(ARGV[2]))
else
  local interval, burst, wanted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  redis.call('ZADD', KEYS[2], now, ARGV[5])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 60)
  redis.call('EXPIRE', KEYS[2], 120)
  local members = redis.call('ZCARD', KEYS[2])
  if now < closed then return {0, tostring(closed - now), members, 0} end
  local count, wait, probe = wanted, 0, closed > 0 and 1 or 0
  if closed > 0 then count = math.min(wanted, 1) end
  if interval > 0 and wanted > 0 then
    local begin = math.max(used, now)
    local free = math.floor((now - begin) / interval + burst + 1e-9)
    count = math.max(1, math.min(count, free))
    used = begin + count * interval
    if free < 1 then wait = used - burst * interval - now end
  end
  if closed > 0 then closed = now + wait + 2 end
  answer = {count, tostring(wait), members, probe}
end
for name, value in pairs({used = used, closed = closed, touched = now}) do
  redis.call('HSET', KEYS[1], name, string.format('%.6f', value))
end
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(used - now, closed - now, 0)) + 300)
return answer
