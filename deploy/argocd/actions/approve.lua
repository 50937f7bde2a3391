-- The step that the rollout waits for, found by its name as the status gives it: PHASE/STEP. A step of a ramp is named by its
-- percentage.
local function fields(value)
  return type(value) == "table" and value or {}
end

local function percent(value)
  return type(value) == "number" and value .. "%" or value
end

local waiting = fields(fields(obj.status).waitingFor)
local spec = nil
if waiting.check == "Approval" then
  for _, phase in ipairs(fields(fields(obj.spec).phases)) do
    local names = {}
    for _, step in ipairs(fields(phase.steps)) do
      if type(step.name) == "string" then
        table.insert(names, step.name)
      end
    end
    for _, value in ipairs(fields(fields(phase.ramp).percents)) do
      table.insert(names, percent(value))
    end
    for _, name in ipairs(names) do
      if phase.name .. "/" .. name == waiting.which then
        spec = {action = "Approve", approve = {phase = phase.name, step = name}}
      end
    end
  end
end
if spec == nil then
  error("no step with a name waits for an approval now", 0)
end
