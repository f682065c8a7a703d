//! What the command line says, and what it refuses.

use super::*;

fn spec(extra: &[&str]) -> Result<RunSpec, ArgsError> {
    parse(["loadtest", "--deployment=embedded"].iter().chain(extra))
}

#[test]
fn the_shortest_command_line_has_the_scenarios_size() {
    let spec = spec(&["sellout"]).unwrap();
    assert_eq!((spec.scenario.name, spec.size.units, spec.size.buyers), ("sellout", 100_000, 300_000));
    assert_eq!((spec.args.connections, spec.seconds(), spec.args.lanes), (512, 120, 1));
    assert!(!spec.args.no_baselines, "a rate says little without what the machine gives");
    assert_eq!(spec.deployment.kind(), DeploymentKind::Embedded);
    command().debug_assert();
}

#[test]
fn everything_can_be_said() {
    let said = "retry-storm --units 5 --buyers 10 --rate 2000.5 --seconds 3 --connections 64 \
                --lanes 4 --threads 2 --seed 9 --json /tmp/x.json --target http://127.0.0.1:8080/ --keep \
                --front-threads 3 --no-baselines --data /tmp/shop";
    let spec = spec(&said.split_whitespace().collect::<Vec<_>>()).unwrap();
    assert_eq!((spec.size.units, spec.size.buyers, spec.args.rate), (5, 10, Some(2_000.5)));
    assert_eq!((spec.seconds(), spec.args.front_threads, spec.args.no_baselines), (3, Some(3), true));
    let target = spec.target.unwrap();
    assert_eq!((target.address.port(), target.host.as_str()), (8_080, "127.0.0.1:8080"));
    assert!(spec.args.keep);
}

#[test]
fn mistakes_are_usage_errors() {
    for mistake in [
        &["no-such-scenario"][..],
        &["orders", "--rate=0"],
        &["orders", "--rate=nan"],
        &["orders", "--connections=0"],
        &["orders", "--seconds=3601"],
        &["orders", "--units=0"],
        &["orders", "--target=https://127.0.0.1"],
        &["orders", "--target=http://127.0.0.1/v1"],
        &["orders", "--deployment=other"],
        &["orders", "--target=http://127.0.0.1"],
        &[],
    ] {
        assert!(matches!(spec(mistake), Err(ArgsError::Usage(_))), "{mistake:?}");
    }
    assert!(matches!(spec(&["sellout", "--units=300000"]), Err(ArgsError::WrongSize(_))));
    assert!(matches!(spec(&["orders", "--first-buyers=3"]), Err(ArgsError::WrongSize(_))));
}
