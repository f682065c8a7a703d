use super::*;

#[test]
fn running_out_of_descriptors_pauses_and_a_lost_client_does_not() {
    const ECONNABORTED: i32 = 103;
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    assert!(is_of_one_connection(&io::Error::from_raw_os_error(ECONNABORTED)));
    for stays in [EMFILE, ENFILE, ENOBUFS] {
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(stays)), "{stays}");
    }
}

#[test]
fn the_sweep_covers_each_deadline_in_full() {
    let (round, rounds) = sweep_plan(&Limits::default());
    assert!(round * rounds.headers >= Limits::default().header_deadline);
    assert!(round * rounds.idle >= Limits::default().idle_deadline);
    assert_eq!(rounds.headers, ROUNDS_PER_DEADLINE);
}

#[test]
fn limits_of_nothing_do_not_stop_the_sweep_or_the_protocol() {
    let nothing = Limits {
        header_deadline: Duration::ZERO,
        idle_deadline: Duration::ZERO,
        buffer_bytes_max: 0,
        ..Limits::default()
    };
    let (round, _rounds) = sweep_plan(&nothing);
    assert!(round > Duration::ZERO);
    protocol(&nothing);
}
