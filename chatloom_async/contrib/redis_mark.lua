-- KEYS: the limit, its members. ARGV: seconds; negative: open.
local seconds = tonumber(ARGV[1])
if seconds < 0 then return redis.call('HDEL', KEYS[1], 'closed') end
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local state = redis.call('HMGET', KEYS[1], 'used', 'closed', 'touched')
local used, closed = tonumber(state[1]) or 0, math.max(tonumber(state[2]) or 0, now + seconds)
if (tonumber(state[3]) or 0) > now + 1 then -- the server's clock was set back
  redis.call('DEL', KEYS[1], KEYS[2])
  used, closed = 0, now + seconds
end
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', closed))
redis.call('HSET', KEYS[1], 'touched', string.format('%.6f', now))
redis.call('EXPIRE', KEYS[1], math.ceil(math.max(used, closed) - now) + 300)
return 1
