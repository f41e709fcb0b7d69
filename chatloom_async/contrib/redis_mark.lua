-- KEYS: the limit. ARGV: seconds; negative: open.
local seconds = tonumber(ARGV[1])
if seconds < 0 then return redis.call('HDEL', KEYS[1], 'closed') end
local t = redis.call('TIME')
local till = tonumber(t[1]) + tonumber(t[2]) / 1e6 + seconds
local before = tonumber(redis.call('HGET', KEYS[1], 'closed')) or 0
redis.call('HSET', KEYS[1], 'closed', string.format('%.6f', math.max(till, before)))
redis.call('EXPIRE', KEYS[1], math.ceil(seconds) + 300)
return 1
