//! What is done on the server in one step. The key of the reader is `KEYS[1]`, the stream is `KEYS[2]`; all of Lantern's
//! readers are the consumer `lantern` of their group.

/// Reads for whoever holds the lease, and takes the lease when nobody holds it.
///
/// `ARGV`: token, lease in milliseconds, group, count, from. A count of 0 prolongs the lease only. Answers
/// `['other', milliseconds left, 0]`, `['taken', id last delivered to the group, 0]` or
/// `['mine', entries, entries that were trimmed before the group had them]`.
///
/// Entries went unread when the first one left stands after the last one delivered, and more are gone than were read. The
/// group's count of those read is put right then, so that they are told once. Redis counts from 7.0 on, and for a group
/// that has read something.
pub(super) const READ: &str = r"
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return {'other', redis.call('PTTL', KEYS[1]), 0}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])

local function field(list, wanted)
  for i = 1, #list, 2 do
    if list[i] == wanted then return list[i + 1] end
  end
end

local function group()
  for _, it in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    if field(it, 'name') == ARGV[3] then return it end
  end
end

local function is_after(one, other)
  local time, count = one:match('(%d+)-(%d+)')
  local before, earlier = other:match('(%d+)-(%d+)')
  if time ~= before then return tonumber(time) > tonumber(before) end
  return tonumber(count) > tonumber(earlier)
end

local function trimmed()
  local own, first = group(), redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  local read = own and field(own, 'entries-read')
  if not first or not read or not is_after(first[1], field(own, 'last-delivered-id')) then return 0 end
  local stream = redis.call('XINFO', 'STREAM', KEYS[2])
  local lost = field(stream, 'entries-added') - field(stream, 'length') - read
  if lost <= 0 then return 0 end
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[3], field(own, 'last-delivered-id'), 'ENTRIESREAD', read + lost)
  return lost
end

if not owner then
  local own = group()
  if own then return {'taken', field(own, 'last-delivered-id'), 0} end
  return redis.error_reply('NOGROUP there is no group ' .. ARGV[3])
end
if ARGV[4] == '0' then
  return {'mine', false, 0}
end
local lost = 0
if ARGV[5] == '>' then lost = trimmed() end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[3], 'lantern', 'COUNT', ARGV[4], 'STREAMS', KEYS[2], ARGV[5])
return {'mine', read, lost}
";

/// Claims what other clients took and left lying.
///
/// `ARGV`: token, group, milliseconds an entry has to lie, count. Answers the entries; those that were trimmed have none.
pub(super) const CLAIM: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {} end
local ids = {}
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[2])) do
  local name, pending
  for i = 1, #consumer, 2 do
    if consumer[i] == 'name' then name = consumer[i + 1] end
    if consumer[i] == 'pending' then pending = consumer[i + 1] end
  end
  if name ~= 'lantern' and pending > 0 then
    for _, entry in ipairs(redis.call('XPENDING', KEYS[2], ARGV[2], 'IDLE', ARGV[3], '-', '+', ARGV[4], name)) do
      ids[#ids + 1] = entry[1]
    end
  end
end
if #ids == 0 then return {} end
return redis.call('XCLAIM', KEYS[2], ARGV[2], 'lantern', '0', unpack(ids))
";

/// Gives the lease back. `ARGV`: token.
pub(super) const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";
