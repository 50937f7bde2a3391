-- Which actions of a FeatureRollout Argo CD offers now. The controller judges each by itself and answers with a reason; what
-- it would surely reject is greyed out here.
local function fields(value)
  return type(value) == "table" and value or {}
end

local metadata, spec, status = fields(obj.metadata), fields(obj.spec), fields(obj.status)
local rollback = type(status.rollback) == "table"

local stalled = false
for _, condition in pairs(fields(status.conditions)) do
  if fields(condition).type == "Stalled" and condition.status == "True" then
    stalled = true
  end
end

-- A status that came from another object is taken over before anything is done.
local begun = status.uid ~= nil and status.uid == metadata.uid
-- What only lowers needs no spec that can be followed. A rollback is Stalled, too, and a retry is what ends it.
local waiting = fields(status.waitingFor)
local followed = begun and metadata.deletionTimestamp == nil and waiting.check ~= "Valid" and (rollback or not stalled)

local paused, by_person, resumable, recovering = false, false, false, false
-- Pauses that only git ends, and those that a retry ends.
local of_git = {Suspended = true, Emergency = true}
local of_recovery = {StatusLost = true, Restored = true, Adopted = true, PositionLost = true}
for _, pause in pairs(fields(status.pauses)) do
  local cause = fields(pause).cause
  if type(cause) == "string" then
    paused = true
    by_person = by_person or cause == "Person"
    resumable = resumable or (not of_git[cause] and cause ~= "PositionLost")
    recovering = recovering or of_recovery[cause] == true
  end
end

-- Whether somebody has the feature, or is about to.
local served = false
for _, cohort in pairs(fields(status.cohorts)) do
  local percent = fields(cohort).served
  local has = percent ~= nil and percent ~= "0%" and percent ~= 0
  local decided = fields(cohort).decided
  local gets = decided ~= nil and decided ~= "0%" and decided ~= 0
  served = served or has or gets or fields(cohort).pending ~= nil or fields(cohort).restore ~= nil
end

-- A promote passes over these waits, and over nothing else without being told to.
local passes = {Start = true, Hold = true, Date = true, Missed = true}
local phases, position = fields(spec.phases), fields(status.position)
local last = fields(phases[#phases])
local at_end = last.name ~= nil and last.name == position.phase and position.number == position.of

local function action(enabled, title, icon)
  return {
    disabled = not enabled,
    displayName = title,
    iconClass = "fa fa-fw " .. icon,
    params = {{name = "reason"}},
  }
end

return {
  pause = action(begun and not by_person, "Pause", "fa-pause-circle"),
  resume = action(followed and not rollback and resumable, "Resume", "fa-play-circle"),
  approve = action(followed and waiting.check == "Approval", "Approve the next step", "fa-check-circle"),
  promote = action(
    followed and not rollback and not paused and not at_end and passes[waiting.check] == true,
    "Promote to the next step",
    "fa-step-forward"
  ),
  rollback = action(begun and (served or not rollback), "Roll back at once", "fa-undo"),
  retry = action(followed and (rollback or recovering), "Retry from the start", "fa-redo"),
}
