-- KEYS: slot. ARGV: the life.
local held = read(KEYS[1])
local life = tonumber(ARGV[1])
if held.kind == 'T' and held.life > life then
  life = held.life
end
local text = string.format('%.0f', life)
redis.call('SET', KEYS[1], 'SES1T' .. string.rep('0', 15 - #text) .. text, 'PX', text)
return 1
