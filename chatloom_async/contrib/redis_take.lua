-- KEYS: the limit, its members. ARGV: seconds a departure uses (0: no ceiling), burst, wanted,
-- member. Answers are texts: a script's numbers lose their fraction.
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local interval, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'used', 'closed', 'touched')
local used, closed = tonumber(state[1]) or 0, tonumber(state[2])
if (tonumber(state[3]) or 0) > now + 1 then -- the server's clock was set back
  redis.call('DEL', KEYS[1], KEYS[2])
  used, closed = 0, nil
end
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 60)
redis.call('EXPIRE', KEYS[2], 120)
local members = redis.call('ZCARD', KEYS[2])
if closed and now < closed then return {0, tostring(closed - now), members, 0} end
local count, wait = wanted, 0
if closed and wanted > 1 then count = 1 end
if interval > 0 and wanted > 0 then
  local begin = math.max(used, now)
  count = math.min(count, math.floor((now - begin) / interval + burst + 1e-9))
  if count < 1 then
    count = 1
    wait = begin + interval - burst * interval - now
  end
  used = begin + count * interval
  redis.call('HSET', KEYS[1], 'used', string.format('%.6f', used))
end
if closed then redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', now + wait + 2)) end
redis.call('HSET', KEYS[1], 'touched', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(used - now, 0)) + 300)
return {count, tostring(wait), members, closed and 1 or 0}
