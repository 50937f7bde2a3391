-- Creates a RolloutAction from the spec above. It has a fresh name each time, and neither a label nor an annotation of the
-- rollout: with Argo CD's mark on it the controller rejects it, since what is tracked is created again.
local given = type(actionParams) == "table" and actionParams.reason or nil
if type(given) ~= "string" or given == "" then
  given = "asked for in Argo CD"
end
spec.reason = given
spec.rolloutRef = {name = obj.metadata.name, uid = obj.metadata.uid}
-- From Kubernetes 1.36 on the cluster writes in who asks. Before, this has to be the account of Argo CD's API server.
spec.requestedBy = "system:serviceaccount:argocd:argocd-server"

return {
  {
    operation = "create",
    resource = {
      apiVersion = obj.apiVersion,
      kind = "RolloutAction",
      metadata = {
        generateName = obj.metadata.name .. "-argocd-",
        namespace = obj.metadata.namespace,
        -- Shows it below the rollout, and deletes it with the rollout.
        ownerReferences = {
          {
            apiVersion = obj.apiVersion,
            kind = obj.kind,
            name = obj.metadata.name,
            uid = obj.metadata.uid,
          },
        },
      },
      spec = spec,
    },
  },
}
