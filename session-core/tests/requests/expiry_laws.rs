//! Whatever requests do and however long they pause: a session lives as long as it should, and not longer.
use std::time::{Duration, SystemTime};

use crate::support::Site;
use proptest::prelude::*;
use session_core::store::{SessionStore, Timestamp};
use session_core::{Clock, Expiry, Policy, Renewal, SessionKey};

#[derive(Debug, Clone)]
enum Step {
    Pause(u64),
    Read,
    Write,
    SetExpiry(Option<u64>),
    Cycle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..4_000_u64).prop_map(Step::Pause),
        3 => Just(Step::Read),
        2 => Just(Step::Write),
        1 => prop::option::of(1..9_000_u64).prop_map(Step::SetExpiry),
        1 => Just(Step::Cycle),
    ];
    prop::collection::vec(step, 1..30)
}

fn renewals() -> impl Strategy<Value = Renewal> {
    prop_oneof![
        Just(Renewal::OnAccess),
        Just(Renewal::OnSave),
        Just(Renewal::EveryRequest)
    ]
}

async fn stored_expiry(site: &Site, key: &SessionKey) -> Option<Timestamp> {
    let store_key = site.manager.policy().keys().store_key(key);
    let record = site.store.load(&store_key, site.clock.now()).await.unwrap();
    record.map(|record| record.expires_at)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exp_06_a_session_lives_as_long_as_it_is_used_and_its_absolute_timeout_allows(
        program in steps(),
        idle in 600..6_000_u64,
        absolute in prop::option::of(3_000..20_000_u64),
        renewal in renewals(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let policy = Policy::new()
                .with_idle_timeout(Duration::from_secs(idle))
                .with_absolute_timeout(absolute.map(Duration::from_secs))
                .with_renewal(renewal);
            let site = Site::with_policy(policy);
            let begun = site.clock.now();
            let mut key = site.visitor(|session| session.set("n", &1).unwrap()).await;
            let mut age = idle;
            for step in program {
                if let Step::Pause(seconds) = step {
                    site.clock.advance(Duration::from_secs(seconds));
                    continue;
                }
                let now = site.clock.now();
                let before = stored_expiry(&site, &key).await;
                let request = site.request(Some(&key));
                let session = request.session().await;
                // The record is there exactly until its expiry, and nobody sees it afterwards.
                prop_assert_eq!(session.contains_key("n"), before.is_some());
                let Some(before) = before else { return Ok(()) };
                let saves = match step {
                    Step::Write => { session.set("n", &2).unwrap(); true }
                    Step::SetExpiry(seconds) => {
                        age = seconds.unwrap_or(idle);
                        let expiry = seconds.map_or(Expiry::Default, |seconds| Expiry::OnInactivity(Duration::from_secs(seconds)));
                        session.set_expiry(expiry).unwrap();
                        true
                    }
                    Step::Cycle => { session.cycle_key(); true }
                    Step::Read | Step::Pause(_) => false,
                };
                let ended = request.finish().await;
                if ended.word() == "issue" {
                    key = ended.expect_issued();
                }
                let after = stored_expiry(&site, &key).await.unwrap();
                let end = absolute.map(|absolute| begun.saturating_add(Duration::from_secs(absolute)));
                let full = now.saturating_add(Duration::from_secs(age));
                let full = end.map_or(full, |end| full.min(end));
                prop_assert!(end.is_none_or(|end| after <= end), "it outlives its absolute timeout");
                if matches!(step, Step::SetExpiry(_)) {
                    prop_assert_eq!(after, full, "a new expiry counts from now");
                } else {
                    prop_assert!(after >= before, "using it has shortened its life");
                    prop_assert!(after <= full.max(before), "it lives longer than it should");
                    if saves || renewal != Renewal::OnSave {
                        let short = full.saturating_since(after);
                        prop_assert!(short <= Duration::from_secs(age / 10), "{:?} of its life were not renewed", short);
                    } else {
                        prop_assert_eq!(after, before, "reading has renewed it");
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_date_is_never_moved_by_using_the_session(program in steps(), after in 1..50_000_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let site = Site::new();
            let end = site.clock.now().saturating_add(Duration::from_secs(after));
            let mut key = site.visitor(|session| session.set_expiry(Expiry::At(SystemTime::from(end))).unwrap()).await;
            for step in program {
                let request = site.request(Some(&key));
                let session = request.session().await;
                prop_assert_eq!(!session.is_empty(), site.clock.now() < end);
                if session.is_empty() {
                    return Ok(());
                }
                match step {
                    Step::Pause(seconds) => site.clock.advance(Duration::from_secs(seconds)),
                    Step::Cycle => session.cycle_key(),
                    _ => session.set("n", &1).unwrap(),
                }
                let ended = request.finish().await;
                if ended.word() == "issue" {
                    key = ended.expect_issued();
                }
                if site.clock.now() < end {
                    prop_assert_eq!(stored_expiry(&site, &key).await, Some(end));
                }
            }
            Ok(())
        })?;
    }
}
