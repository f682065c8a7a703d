//! The pure lane machine.
/// x
#[derive(Debug)] pub struct LaneMachine; /// x
#[derive(Debug)] pub struct RunId(pub u64);
