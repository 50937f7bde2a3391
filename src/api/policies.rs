//! The admission policies that say who asks for an action and who may.

/// Name of the policy that refuses another's name and what RBAC does not allow, and of its binding.
pub const PERMISSION: &str = "rolloutaction-permission.sluice.dev";
/// Name of the policy that writes the caller's name into an action, and of its binding.
pub const IDENTITY: &str = "rolloutaction-identity.sluice.dev";

/// File name and content of each policy with its binding, in the order in which they are put into a cluster.
pub const FILES: [(&str, &str); 2] = [
    ("rolloutaction-permission.yaml", include_str!("../../policies/rolloutaction-permission.yaml")),
    ("rolloutaction-identity.yaml", include_str!("../../policies/rolloutaction-identity.yaml")),
];
