-- Health of every kind of Sluice to Argo CD. The conditions follow kstatus, and this says what kstatus says of them;
-- Paused, which kstatus does not know, is Suspended. It returns a status whatever the object looks like: without one
-- Argo CD shows no health.
local metadata = type(obj.metadata) == "table" and obj.metadata or {}
local status = type(obj.status) == "table" and obj.status or {}

local conditions = {}
if type(status.conditions) == "table" then
  for _, condition in pairs(status.conditions) do
    if type(condition) == "table" and type(condition.type) == "string" then
      conditions[condition.type] = condition
    end
  end
end

-- The message of a condition that is True, or nil.
local function says(name)
  local condition = conditions[name]
  if condition == nil or condition.status ~= "True" then
    return nil
  end
  return type(condition.message) == "string" and condition.message or name
end

-- What is retried says why it has not come to this generation yet.
if status.observedGeneration == nil or status.observedGeneration ~= metadata.generation then
  local message = says("Reconciling") or "Sluice has not come to this generation of the spec yet"
  return {status = "Progressing", message = message}
end

for _, rule in ipairs({
  {condition = "Stalled", status = "Degraded"},
  {condition = "Reconciling", status = "Progressing"},
  {condition = "Paused", status = "Suspended"},
  {condition = "Ready", status = "Healthy"},
}) do
  local message = says(rule.condition)
  if message ~= nil then
    return {status = rule.status, message = message}
  end
end

local ready = conditions["Ready"]
local message = ready ~= nil and type(ready.message) == "string" and ready.message or "not Ready yet"
return {status = "Progressing", message = message}
