//! What must not compile, one mistake to a test, and the compiler's number for it. Nightly's rustdoc looks at the number, so that no
//! test passes for a slip of its own: `cargo xtask release-check`.

/// ```compile_fail,E0369
/// use session_core::SessionKey;
/// let (one, other) = (SessionKey::generate().unwrap(), SessionKey::generate().unwrap());
/// assert!(one == other);
/// ```
mod id_08_keys_are_not_compared {}

/// ```compile_fail,E0369
/// use session_core::{DigestKeys, KeyRing};
/// fn same(one: &KeyRing, other: &KeyRing) -> bool { one == other }
/// ```
mod id_08_secrets_of_the_server_are_not_compared {}

/// ```compile_fail,E0599
/// use session_core::SessionKey;
/// SessionKey::seed_from_u64(7);
/// ```
mod id_03_the_generator_has_no_seed {}

/// ```compile_fail,E0599
/// use session_core::SessionKey;
/// SessionKey::generate_with(|bytes: &mut [u8]| bytes.fill(7));
/// ```
mod id_03_the_generator_is_not_chosen {}

/// ```compile_fail,E0423
/// use session_core::SessionKey;
/// let key = SessionKey([b'a'; 32].into());
/// ```
mod id_04_a_key_is_not_made_of_something_else {}

/// ```compile_fail,E0609
/// # async fn list(session: session_core::SessionBase) {
/// for listed in session.own_sessions().await.unwrap() {
///     listed.key.expose_secret();
/// }
/// # }
/// ```
mod id_10_a_list_of_sessions_has_no_keys {}

/// ```compile_fail,E0277
/// use session_core::{SessionHandle, SessionKey};
/// fn key_of(handle: SessionHandle) -> SessionKey { handle.into() }
/// ```
mod id_10_a_handle_is_no_key {}

/// ```compile_fail,E0599
/// # fn make(manager: session_core::SessionManager, chosen: session_core::SessionKey) {
/// manager.start_with(chosen);
/// # }
/// ```
mod fix_01_a_new_session_takes_no_key {}

/// ```compile_fail,E0599
/// # fn make(session: session_core::SessionBase) {
/// session.set_owner(7);
/// # }
/// ```
mod rot_01_an_owner_is_not_set_without_a_log_in {}

/// ```compile_fail,E0308
/// # async fn find(store: session_core::MemoryStore) {
/// use session_core::store::{SessionStore, Timestamp};
/// store.load("../../etc/passwd", Timestamp::MIN).await.unwrap();
/// # }
/// ```
mod in_01_a_store_takes_no_text_for_a_key {}

/// ```compile_fail,E0080
/// use session_core::Field;
/// const OWNER: Field<u64> = Field::new("_owner");
/// ```
mod in_12_a_field_has_no_reserved_name {}

/// ```compile_fail,E0277
/// println!("{}", session_core::SessionKey::generate().unwrap());
/// ```
mod leak_02_a_key_is_not_displayed {}

/// ```compile_fail,E0277
/// let key = session_core::SessionKey::generate().unwrap();
/// serde_json::to_string(&key).unwrap();
/// ```
mod leak_02_a_key_is_not_serialized {}

/// ```compile_fail,E0599
/// let key = session_core::SessionKey::generate().unwrap();
/// let copy = key.clone();
/// ```
mod leak_02_a_key_is_not_copied {}

/// ```compile_fail,E0433
/// # fn raw(ring: &session_core::KeyRing) {
/// session_core::codec::Cipher::new(ring);
/// # }
/// ```
mod rest_05_there_is_no_cipher_to_misuse {}

/// ```compile_fail,E0599
/// # fn stream(detached: &session_core::DetachedSession) {
/// detached.set("n", &1).unwrap();
/// # }
/// ```
mod what_outlives_its_request_has_no_set_that_waits_for_a_commit {}
