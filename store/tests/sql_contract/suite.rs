//! What the port of databases promises, and the repositories on top of it, rule by rule. Goal: any
//! adapter that passes may stand behind writer, desk and ledger. Method: each rule is a function of
//! the port alone, with a namespace of its own that is dropped at its end; two maps, 2 x 4 and 1 x
//! 1 tables, where routing matters. `contract!` stands at the foot of each adapter's tests.

pub(crate) mod consumers;
pub(crate) mod desk;
pub(crate) mod domains;
pub(crate) mod figures;
pub(crate) mod leases;
pub(crate) mod ledger;
pub(crate) mod losses;
pub(crate) mod migrations;
pub(crate) mod opening;
pub(crate) mod orders;
pub(crate) mod publications;
pub(crate) mod support;

/// The rules as tests of the adapter that the expression gives.
macro_rules! contract {
    ($adapter:expr) => {
        $crate::suite::rules! { $adapter,
            consumers: a_position_moves_with_what_was_made_of_the_records what_a_topic_lost_is_passed_over
                a_process_consumes_the_partitions_that_it_is_given
                what_is_damaged_or_contradicts_is_parked_and_the_others_go_on
                what_a_newer_program_wrote_waits_for_the_update;
            desk: a_mark_and_its_outbox_row_are_one_change the_outbox_is_read_by_id_and_emptied_by_id
                only_unpaid_orders_are_overdue orders_past_their_time_to_pay_are_found_by_it many_orders_are_marked_with_their_outbox_rows
                the_outbox_is_read_by_partition;
            domains: domains_become_what_is_wanted_and_nothing_else;
            figures: statements_are_counted_by_what_came_of_them_and_connections_by_what_they_do;
            leases: a_lease_is_prolonged_and_ended_by_its_holder_only numbers_run_out_and_come_back_after_a_rest
                a_number_rests_until_its_ids_are_past a_lease_from_a_clock_that_was_ahead_is_no_live_engine
                what_an_engine_tells_holds_while_it_holds_its_number;
            ledger: lanes_are_added_once a_commit_moves_everything_or_nothing sold_stays_between_none_and_the_allotment
                an_allotment_falls_with_what_is_released a_lane_is_retired_by_its_epoch_until_the_next
                a_row_without_a_target_wants_its_allotment r5_the_first_order_of_a_lane_only_falls
                of_two_committers_exactly_one_wins a_generation_begins_once
                a_distrusted_lane_is_remembered_until_it_is_trusted
                offers_of_a_tenant_are_found_in_one_go;
            losses: a_loss_is_open_until_it_is_closed what_stays_lost_is_noted_once a_record_is_set_aside_once
                movements_are_deleted_oldest_first_and_in_steps;
            migrations: migrations_are_applied_in_order_and_once of_programs_that_start_at_once_one_applies
                a_migration_that_broke_half_way_is_gone_on_from a_newer_programs_database_is_refused;
            opening: processes_that_start_at_once_migrate_once another_map_is_refused_before_anything_is_made
                named_operations_do_what_they_promise a_transaction_is_alone_with_its_rows a_dropped_transaction_is_undone;
            orders: what_is_written_is_found a_taken_key_leaves_nothing a_zombie_of_an_older_generation_cannot_write
                a_row_of_another_shard_is_refused a_release_is_set_once
                r8_a_release_brings_the_mark_that_was_lost live_purchases_count_until_the_release
                a_buyers_orders_come_newest_first_in_pages a_walk_reads_each_row_once a_scan_finds_the_rows_of_its_lanes;
            publications: a_version_is_published_once_and_in_turn an_id_has_one_owner of_publishers_at_once_one_is_first
                a_publication_reaches_the_topic_when_it_is_back a_late_record_is_followed_by_the_newest
                what_came_by_the_topic_is_adopted the_ledgers_rows_are_owners
                what_was_written_from_a_moment_on_is_told an_older_programs_database_is_upgraded;
        }
    };
}

macro_rules! rules {
    ($adapter:expr, $($topic:ident: $($rule:ident)*;)*) => {
        $(mod $topic {
            #[allow(unused_imports, reason = "whatever the expression names")]
            use super::*;

            $(#[tokio::test]
            async fn $rule() {
                $crate::suite::$topic::$rule($adapter).await;
            })*
        })*
    };
}

pub(crate) use {contract, rules};
