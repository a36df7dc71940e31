//! What is done on the server in one step. The key of the reader is `KEYS[1]`, the stream is `KEYS[2]`; all of Lantern's
//! readers are the consumer `lantern` of their group.

/// Reads for whoever holds the lease, and takes the lease when nobody holds it.
///
/// `ARGV`: token, lease in milliseconds, group, count, from. A count of 0 prolongs the lease only. Answers
/// `['other', milliseconds left]`, `['taken', id last delivered to the group]` or `['mine', entries]`.
pub(super) const READ: &str = r"
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return {'other', redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not owner then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local name, last
    for i = 1, #group, 2 do
      if group[i] == 'name' then name = group[i + 1] end
      if group[i] == 'last-delivered-id' then last = group[i + 1] end
    end
    if name == ARGV[3] then return {'taken', last} end
  end
  return redis.error_reply('NOGROUP there is no group ' .. ARGV[3])
end
if ARGV[4] == '0' then
  return {'mine', false}
end
return {'mine', redis.call('XREADGROUP', 'GROUP', ARGV[3], 'lantern', 'COUNT', ARGV[4], 'STREAMS', KEYS[2], ARGV[5])}
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
