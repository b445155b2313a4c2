-- Takes tasks from the queue and notes whose they are: both or neither.
-- KEYS: todo, in progress, failed, status of workers
-- ARGV: worker, stop order, number of workers that are gone, their names, lines of tasks. With -1
-- it does not matter who failed.
-- Returns: whether there is a stop order, tasks left, tasks passed over because they failed here,
-- then for each task that was taken: its place among the lines from 1, failures so far.
local todo, doing, failed = KEYS[1], KEYS[2], KEYS[3]
local worker, gone = ARGV[1], tonumber(ARGV[3])
if redis.call('HEXISTS', todo, ARGV[2]) == 1 then
  return {1, redis.call('HLEN', todo), 0}
end
local first = 4 + math.max(gone, 0)

-- Whether a name is in a list of names, each with a comma behind it.
local function names(list, name)
  return string.find(',' .. list .. ',', ',' .. name .. ',', 1, true) ~= nil
end

-- The other workers, as far as they are not gone: looked for when they are first needed.
local found
local function others()
  if found == nil then
    found = {}
    local is_gone = {[worker] = true}
    for at = 4, first - 1 do
      is_gone[ARGV[at]] = true
    end
    for _, name in ipairs(redis.call('HKEYS', KEYS[4])) do
      if not is_gone[name] then
        found[#found + 1] = name
      end
    end
  end
  return found
end

-- Whether the task failed here, and has not yet failed at everybody else.
local function is_for_others(list)
  if gone < 0 or not names(list, worker) then
    return false
  end
  for _, name in ipairs(others()) do
    if not names(list, name) then
      return true
    end
  end
  return false
end

local taken, passed = {}, 0
for at = first, #ARGV do
  local line = ARGV[at]
  local list = redis.call('HGET', failed, line) or ''
  if is_for_others(list) then
    passed = passed + 1
  elseif redis.call('HDEL', todo, line) == 1 then
    redis.call('HSET', doing, line, worker)
    local _, failures = string.gsub(list, '[^,]+', '')
    taken[#taken + 1] = at - first + 1
    taken[#taken + 1] = failures
  end
end
local reply = {0, redis.call('HLEN', todo), passed}
for at = 1, #taken do
  reply[#reply + 1] = taken[at]
end
return reply
