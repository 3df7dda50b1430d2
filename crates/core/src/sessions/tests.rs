use proptest::prelude::*;

use super::*;
use crate::ids::{ServiceId, UserId};
use crate::provider::MAX_SESSION_ID;

const START: SystemTime = SystemTime::UNIX_EPOCH;
const HOUR: u64 = 3_600;

fn at(seconds: u64) -> SystemTime {
    START + Duration::from_secs(1_000_000 + seconds)
}

fn key(session: &str) -> SessionKey {
    SessionKey::new(ServiceId(0), Some(UserId(1)), session).unwrap()
}

const A: CredentialId = CredentialId(0);
const B: CredentialId = CredentialId(1);
use PoolScope::{All, NoExternals};

#[test]
fn ids_are_bounded() {
    assert!(SessionKey::new(ServiceId(0), None, "").is_none());
    assert!(SessionKey::new(ServiceId(0), None, &"x".repeat(MAX_SESSION_ID)).is_some());
    assert!(SessionKey::new(ServiceId(0), None, &"x".repeat(MAX_SESSION_ID + 1)).is_none());
}

#[test]
fn service_and_user_are_part_of_the_key() {
    let mut table = SessionTable::new();
    table.bind(key("s"), A, All, at(0));
    for (service, user) in [(1, Some(1)), (0, Some(2)), (0, None)] {
        let other = SessionKey::new(ServiceId(service), user.map(UserId), "s").unwrap();
        assert_eq!(table.get(&other, at(0)), None);
    }
}

#[test]
fn a_binding_ends_a_day_after_its_last_use() {
    let mut table = SessionTable::new();
    table.bind(key("s"), A, All, at(0));
    assert!(table.touch(&key("s"), at(23 * HOUR)));
    assert!(table.get(&key("s"), at(46 * HOUR)).is_some());
    assert_eq!(table.get(&key("s"), at(47 * HOUR)), None);
    assert_eq!(table.bound_to(A), 1);
    assert!(!table.touch(&key("s"), at(47 * HOUR)));
    assert_eq!(table.bound_to(A), 0);
    assert!(table.is_empty());
}

#[test]
fn the_one_used_longest_ago_makes_room() {
    let mut table = SessionTable::with_limit(2);
    table.bind(key("a"), A, All, at(0));
    table.bind(key("b"), A, All, at(1));
    table.touch(&key("a"), at(2));
    table.bind(key("c"), B, All, at(3));
    assert_eq!(table.get(&key("b"), at(3)), None);
    assert_eq!((table.bound_to(A), table.bound_to(B)), (1, 1));
    let order: Vec<&str> = table.iter().map(|(key, _)| key.session()).collect();
    assert_eq!(order, ["a", "c"]);
}

#[test]
fn rebinding_replaces_and_rebalancing_drops_one_scope() {
    let mut table = SessionTable::new();
    table.bind(key("a"), A, All, at(0));
    table.bind(key("b"), A, NoExternals, at(0));
    let before = table.bind(key("c"), B, All, at(0));
    assert_eq!(before, None);
    let before = table.bind(key("c"), A, NoExternals, at(1)).unwrap();
    assert_eq!((before.credential, before.scope), (B, All));
    assert_eq!((table.bound_to(A), table.bound_to(B)), (3, 0));
    assert_eq!(table.drop_bindings_of(A, Some(NoExternals)), 2);
    assert_eq!(table.len(), 1);
    assert_eq!(table.drop_bindings_of(A, None), 1);
    assert_eq!(table.drop_bindings_of(A, None), 0);
}

#[test]
fn a_clock_that_goes_back_neither_ends_nor_eternalizes_a_binding() {
    let mut table = SessionTable::new();
    table.bind(key("a"), A, All, at(10 * HOUR));
    // A little: time stands still.
    table.touch(&key("a"), at(10 * HOUR - 1));
    assert_eq!(table.get(&key("a"), at(10 * HOUR)).unwrap().last_used, at(10 * HOUR));
    // Set back: the binding counts as used now.
    table.bind(key("b"), A, All, at(HOUR));
    assert!(table.get(&key("a"), at(24 * HOUR)).is_some());
    assert_eq!(table.get(&key("a"), at(25 * HOUR)), None);
}

#[test]
fn a_night_of_expired_bindings_is_removed_piece_by_piece() {
    let mut table = SessionTable::new();
    for n in 0..=EXPIRED_AT_ONCE * 2 {
        table.bind(key(&n.to_string()), A, All, at(0));
    }
    assert!(!table.expire(at(24 * HOUR)));
    assert_eq!(table.len(), EXPIRED_AT_ONCE + 1);
    assert!(!table.expire(at(24 * HOUR)));
    assert!(table.expire(at(24 * HOUR)));
    assert!(table.is_empty());
}

#[test]
fn changes_are_listed_once_and_in_order() {
    let mut table = SessionTable::new();
    table.bind(key("before"), A, All, at(0));
    assert_eq!(table.drain_changes(9), Changes::Listed(Vec::new()));
    table.remember_changes();
    table.bind(key("a"), A, All, at(0));
    table.bind(key("b"), A, All, at(0));
    table.bind(key("a"), B, All, at(1));
    table.unbind(&key("b"));
    table.touch(&key("before"), at(1));
    let put = |name: &str, credential, seconds| {
        Change::Put(key(name), Binding { credential, scope: All, last_used: at(seconds) })
    };
    assert_eq!(table.drain_changes(1), Changes::Listed(vec![put("a", B, 1)]));
    let Changes::Listed(rest) = table.drain_changes(9) else { panic!("too many") };
    assert_eq!(rest.first(), Some(&Change::Remove(key("b"))));
    assert!(rest.iter().all(|change| !matches!(change, Change::Put(key, _) if key.session() == "before")));
    // A use is stored when the stored one has become old.
    table.touch(&key("a"), at(2));
    assert_eq!(table.drain_changes(9), Changes::Listed(Vec::new()));
    let later = 2 + SAVE_AFTER.as_secs();
    table.touch(&key("a"), at(later));
    assert_eq!(table.drain_changes(9), Changes::Listed(vec![put("a", B, later)]));
}

#[test]
fn changes_that_nobody_drains_are_bounded() {
    let mut table = SessionTable::new();
    table.remember_changes();
    for _ in 0..3 {
        table.bind(key("a"), A, All, at(0));
    }
    let Changes::Listed(list) = table.drain_changes(9) else { panic!("too many") };
    assert_eq!(list.len(), 1);
    for n in 0..=MAX_PENDING_CHANGES {
        table.bind(key(&n.to_string()), A, All, at(0));
    }
    assert_eq!(table.drain_changes(1), Changes::Everything);
    assert_eq!(table.drain_changes(1), Changes::Listed(Vec::new()));
    table.bind(key("d"), A, All, at(0));
    let Changes::Listed(list) = table.drain_changes(9) else { panic!("everything again") };
    assert!(list.iter().any(|change| matches!(change, Change::Put(put, _) if put.session() == "d")));
}

#[test]
fn stored_bindings_come_back() {
    let mut table = SessionTable::with_limit(3);
    table.remember_changes();
    let binding = |seconds| Binding { credential: A, scope: All, last_used: at(seconds) };
    let now = 30 * HOUR;
    let stored = [
        (key("future"), binding(now + HOUR)),
        (key("late"), binding(now - 1)),
        (key("expired"), binding(1)),
        (key("one too many"), binding(now - 2)),
    ];
    assert_eq!(table.restore(stored, at(now)), 2);
    assert_eq!(table.get(&key("future"), at(now)).unwrap().last_used, at(now));
    let order: Vec<&str> = table.iter().map(|(key, _)| key.session()).collect();
    assert_eq!(order, ["late", "future"]);
    assert_eq!(table.drain_changes(9), Changes::Listed(vec![Change::Remove(key("expired"))]));
}

/// The table as it would be written without a thought for speed.
#[derive(Default)]
struct Model {
    /// The one used longest ago first.
    bindings: Vec<(SessionKey, Binding)>,
}

impl Model {
    fn expire(&mut self, now: SystemTime) {
        self.bindings.retain(|(_, binding)| !has_expired(binding, now));
    }

    fn take(&mut self, key: &SessionKey) -> Option<Binding> {
        let at = self.bindings.iter().position(|(other, _)| other == key)?;
        Some(self.bindings.remove(at).1)
    }

    fn get(&self, key: &SessionKey) -> Option<Binding> {
        self.bindings.iter().find(|(other, _)| other == key).map(|(_, binding)| *binding)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Bind(u8, u32, PoolScope),
    Touch(u8),
    TouchIf(u8, u32, PoolScope),
    Unbind(u8),
    Drop(u32, Option<PoolScope>),
    Wait(u64),
    Drain(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let scope = prop_oneof![Just(All), Just(NoExternals)];
    prop_oneof![
        4 => (0..12_u8, 0..3_u32, scope.clone()).prop_map(|(session, credential, scope)| Step::Bind(session, credential, scope)),
        3 => (0..12_u8).prop_map(Step::Touch),
        3 => (0..12_u8, 0..3_u32, scope.clone()).prop_map(|(session, credential, scope)| Step::TouchIf(session, credential, scope)),
        1 => (0..12_u8).prop_map(Step::Unbind),
        1 => (0..3_u32, prop::option::of(scope)).prop_map(|(credential, scope)| Step::Drop(credential, scope)),
        3 => (0..30 * HOUR).prop_map(Step::Wait),
        2 => (0..5_usize).prop_map(Step::Drain),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn does_what_a_simple_list_does(steps in prop::collection::vec(step(), 0..200)) {
        const MOST: usize = 8;
        let mut table = SessionTable::with_limit(MOST);
        table.remember_changes();
        let mut model = Model::default();
        // What a store would hold that applied every change.
        let mut stored: HashMap<SessionKey, Binding> = HashMap::new();
        let mut seconds = 0;
        let apply = |stored: &mut HashMap<SessionKey, Binding>, changes: Changes| {
            let Changes::Listed(list) = changes else { panic!("too many changes") };
            for change in list {
                match change {
                    Change::Put(key, binding) => stored.insert(key, binding),
                    Change::Remove(key) => stored.remove(&key),
                };
            }
        };
        for step in steps {
            let now = at(seconds);
            let name = |session: u8| key(&session.to_string());
            match step {
                Step::Bind(session, credential, scope) => {
                    model.expire(now);
                    let before = model.take(&name(session));
                    if model.bindings.len() == MOST {
                        model.bindings.remove(0);
                    }
                    let binding = Binding { credential: CredentialId(credential), scope, last_used: now };
                    model.bindings.push((name(session), binding));
                    prop_assert_eq!(table.bind(name(session), CredentialId(credential), scope, now), before);
                }
                Step::Touch(session) => {
                    model.expire(now);
                    let taken = model.take(&name(session));
                    if let Some(binding) = taken {
                        model.bindings.push((name(session), Binding { last_used: now, ..binding }));
                    }
                    prop_assert_eq!(table.touch(&name(session), now), taken.is_some());
                }
                Step::TouchIf(session, credential, scope) => {
                    model.expire(now);
                    let binding = Binding { credential: CredentialId(credential), scope, last_used: now };
                    let is_it = model
                        .get(&name(session))
                        .is_some_and(|found| (found.credential, found.scope) == (binding.credential, scope));
                    if is_it {
                        model.take(&name(session));
                        model.bindings.push((name(session), binding));
                    }
                    let touched =
                        table.touch_if_bound_to(&name(session), CredentialId(credential), scope, now);
                    prop_assert_eq!(touched, is_it);
                }
                Step::Unbind(session) => {
                    table.expire(now);
                    model.expire(now);
                    prop_assert_eq!(table.unbind(&name(session)), model.take(&name(session)));
                }
                Step::Drop(credential, scope) => {
                    table.expire(now);
                    model.expire(now);
                    let before = model.bindings.len();
                    model.bindings.retain(|(_, binding)| {
                        binding.credential != CredentialId(credential)
                            || scope.is_some_and(|scope| scope != binding.scope)
                    });
                    let dropped = table.drop_bindings_of(CredentialId(credential), scope);
                    prop_assert_eq!(dropped, before - model.bindings.len());
                }
                Step::Wait(time) => seconds += time,
                Step::Drain(most) => apply(&mut stored, table.drain_changes(most)),
                Step::Restart => {
                    table.expire(now);
                    model.expire(now);
                    apply(&mut stored, table.drain_changes(usize::MAX));
                    prop_assert_eq!(stored.len(), model.bindings.len());
                    for (key, binding) in &model.bindings {
                        let kept = stored[key];
                        prop_assert_eq!((kept.credential, kept.scope), (binding.credential, binding.scope));
                        prop_assert!(binding.last_used.duration_since(kept.last_used).unwrap() < SAVE_AFTER);
                    }
                    let saved: Vec<_> = table.iter().map(|(key, binding)| (key.clone(), *binding)).collect();
                    table = SessionTable::with_limit(MOST);
                    table.remember_changes();
                    prop_assert_eq!(table.restore(saved, now), model.bindings.len());
                    stored = model.bindings.iter().cloned().collect();
                }
            }
            let now = at(seconds);
            table.expire(now);
            model.expire(now);
            prop_assert!(table.iter().map(|(key, binding)| (key.clone(), *binding)).eq(model.bindings.iter().cloned()));
            for session in 0..12 {
                prop_assert_eq!(table.get(&name(session), now), model.get(&name(session)));
            }
            for credential in (0..3).map(CredentialId) {
                let bound = model.bindings.iter().filter(|(_, binding)| binding.credential == credential).count();
                prop_assert_eq!(table.bound_to(credential), bound);
            }
        }
    }
}
