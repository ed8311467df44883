//! What others wrote is read, what is written others read, and nothing else is taken for a keystore.

use super::{
    v3::{Sealed, standard_strength},
    *,
};
use ethers_core::rand::rngs::OsRng;
use ethers_signers::{LocalWallet, Signer};
use scrypt::Params;
use serde_json::{Value, json};
use std::{fs, time::Instant};

/// The key of the published vectors, and its password.
const PUBLISHED_KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const PUBLISHED_PASSWORD: &str = "testpassword";

/// From the Web3 Secret Storage Definition.
const PUBLISHED_SCRYPT: &str = r#"{"crypto": {"cipher": "aes-128-ctr",
    "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
    "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
    "kdf": "scrypt", "kdfparams": {"dklen": 32, "n": 262144, "r": 1, "p": 8,
        "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
    "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}"#;
const PUBLISHED_PBKDF2: &str = r#"{"crypto": {"cipher": "aes-128-ctr",
    "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
    "kdf": "pbkdf2", "kdfparams": {"c": 262144, "dklen": 32, "prf": "hmac-sha256",
        "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}"#;

/// The bytes 1 to 32 with the password `correct horse`, by ethers 6 (JavaScript) and eth-account 0.14 (Python).
const COUNTING_PASSWORD: &str = "correct horse";
const BY_ETHERS: &str = r#"{"address":"6370ef2f4db3611d657b90667de398a2cc2a370c",
    "id":"2a7a29fd-6c67-413d-a1bc-2fb87a48354b","version":3,"Crypto":{"cipher":"aes-128-ctr",
    "cipherparams":{"iv":"1f10dbd8181ab846d84d12801fd6a409"},
    "ciphertext":"2d14f719612a1f2ab9f0bc7caf01efbb099a9febc83212ae4af6e441b8b15f28",
    "kdf":"scrypt","kdfparams":{"n":4096,"dklen":32,"p":1,"r":8,
        "salt":"e0f6a24d1aae631b2498c75161c29ca33e4c4068280c0052e8e0a3e2af405fea"},
    "mac":"6ef6adf28b61e5c4acd17e6c4547788816330efb13e0c8670653dc3f647ec02e"}}"#;
const BY_ETH_ACCOUNT: &str = r#"{"address": "6370eF2f4Db3611D657b90667De398a2Cc2a370C",
    "crypto": {"cipher": "aes-128-ctr", "cipherparams": {"iv": "d4c43e0562d23e7867d3307ec877c8c7"},
    "ciphertext": "7a74b0e1d140c6718a405492e0c187f82fad03158b5c219cccf66ac6e6f8db8d",
    "kdf": "pbkdf2", "kdfparams": {"c": 2000, "dklen": 32, "prf": "hmac-sha256",
        "salt": "02dc0d713d031340032c3eb881b299b3"},
    "mac": "1d52e1c1f3f6d5f50980a3a10b2bb8bcb3b61c0df4e25f55d12f97e56ca68091"},
    "id": "79d7c922-5530-4b09-a337-d7bf5b709564", "version": 3}"#;

/// Two zeros and thirty bytes 7 with the password `right`, as a program writes it that leaves leading zeros out.
const WITHOUT_ZEROS: &str = r#"{"crypto": {"cipher": "aes-128-ctr",
    "cipherparams": {"iv": "000102030405060708090a0b0c0d0e0f"},
    "ciphertext": "332b93ad7f1ff8e2e2003f701dcf18e64050f492ead69275cab2270644ca",
    "kdf": "scrypt", "kdfparams": {"dklen": 32, "n": 1024, "r": 8, "p": 1,
        "salt": "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
    "mac": "b981f9eada94da4ad19af9a942e73f72342993f97258f5bd4aea64952c6de597"},
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}"#;

fn password(text: &str) -> Password {
    Password::new(text.to_owned().into()).unwrap()
}

/// So weak that a test does not wait for it.
fn weak() -> Params {
    Params::new(10, 8, 1).unwrap()
}

fn counting_wallet() -> Wallet {
    let secret: Vec<u8> = (1..=32).collect();
    Wallet::from_secret(&secret.try_into().unwrap()).unwrap()
}

fn sealed_weakly() -> Value {
    let sealed = Sealed::seal(&counting_wallet(), &password("right"), weak()).unwrap();
    serde_json::from_str(&sealed.to_json()).unwrap()
}

fn parse(file: &Value) -> Result<Sealed, Fault> {
    Sealed::parse(file.to_string().as_bytes())
}

#[test]
fn the_published_keystores_are_read() {
    for file in [PUBLISHED_SCRYPT, PUBLISHED_PBKDF2] {
        let sealed = Sealed::parse(file.as_bytes()).unwrap();
        assert_eq!(sealed.address, None);
        let wallet = sealed.unseal(&password(PUBLISHED_PASSWORD)).unwrap();
        assert_eq!(*wallet.secret_hex(), PUBLISHED_KEY);
        let address = "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b";
        assert_eq!(wallet.address().to_string(), address);
    }
}

#[test]
fn keystores_of_other_programs_are_read() {
    for file in [BY_ETHERS, BY_ETH_ACCOUNT] {
        let sealed = Sealed::parse(file.as_bytes()).unwrap();
        assert_eq!(sealed.address, Some(counting_wallet().address()));
        let wallet = sealed.unseal(&password(COUNTING_PASSWORD)).unwrap();
        assert_eq!(wallet.address(), counting_wallet().address());
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = *counting_wallet().secret();
    let made = LocalWallet::encrypt_keystore(folder.path(), &mut OsRng, secret, "right", None);
    let (theirs, name) = made.unwrap();
    let content = fs::read(folder.path().join(name)).unwrap();
    let sealed = Sealed::parse(&content).unwrap();
    let ours = sealed.unseal(&password("right")).unwrap();
    assert_eq!(ours.address().0, theirs.address().0);
}

#[test]
fn other_programs_read_what_is_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), sealed_weakly().to_string()).unwrap();
    let theirs = LocalWallet::decrypt_keystore(file.path(), "right").unwrap();
    assert_eq!(theirs.address().0, counting_wallet().address().0);
    assert!(LocalWallet::decrypt_keystore(file.path(), "wrong").is_err());
}

#[test]
fn a_keystore_is_made_with_standard_strength_and_opens_with_its_password_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/wallet.json");
    let wallet = Wallet::generate();
    Keystore::create(&path, &wallet, &password("right")).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let parameters = &written["crypto"]["kdfparams"];
    assert_eq!(
        (&parameters["n"], &parameters["r"], &parameters["p"]),
        (&json!(1 << 18), &json!(8), &json!(1))
    );
    let store = Keystore::open(&path).unwrap();
    assert_eq!(store.address(), Some(wallet.address()));
    assert_eq!(store.stretching(), "scrypt, n = 262144, r = 8, p = 1");
    let read = store.decrypt(&password("right")).unwrap();
    assert_eq!(*read.secret_hex(), *wallet.secret_hex());
    let error = store.decrypt(&password("Right")).unwrap_err();
    assert!(error.to_string().contains("wrong"), "{error}");
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    fs::write(&path, "somebody's").unwrap();
    let refused = Keystore::create(&path, &counting_wallet(), &password("right"));
    assert!(matches!(refused, Err(KeystoreError::Exists(_))));
    // Even if it came there while the password was stretched.
    let sealed = Sealed::seal(&counting_wallet(), &password("right"), weak()).unwrap();
    let late = Keystore {
        path: path.clone(),
        sealed,
    };
    assert!(matches!(late.write(), Err(KeystoreError::Exists(_))));
    assert_eq!(fs::read(&path).unwrap(), b"somebody's");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nothing_of_the_key_or_the_password_can_be_told_from_two_files() {
    let (one, other) = (sealed_weakly(), sealed_weakly());
    for field in [
        "/crypto/ciphertext",
        "/crypto/cipherparams/iv",
        "/crypto/mac",
        "/id",
    ] {
        assert_ne!(one.pointer(field).unwrap(), other.pointer(field).unwrap());
    }
    let salt = "/crypto/kdfparams/salt";
    assert_ne!(one.pointer(salt), other.pointer(salt));
    assert!(!one.to_string().contains(&*counting_wallet().secret_hex()));
}

#[test]
fn an_altered_file_is_no_wallet() {
    for field in ["mac", "ciphertext"] {
        let mut file = sealed_weakly();
        let text = file["crypto"][field].as_str().unwrap();
        let (first, rest) = text.split_at(1);
        let altered = if first == "0" { "1" } else { "0" };
        file["crypto"][field] = format!("{altered}{rest}").into();
        let fault = parse(&file).unwrap().unseal(&password("right"));
        assert_eq!(fault.unwrap_err(), Fault::WrongPassword, "{field}");
    }
    // The checksum covers neither of these.
    let mut file = sealed_weakly();
    file["crypto"]["cipherparams"]["iv"] = "00".repeat(16).into();
    let fault = parse(&file).unwrap().unseal(&password("right"));
    assert!(matches!(fault.unwrap_err(), Fault::OtherAddress { .. }));
    let mut file = sealed_weakly();
    file["address"] = "11".repeat(20).into();
    let fault = parse(&file).unwrap().unseal(&password("right"));
    assert!(matches!(fault.unwrap_err(), Fault::OtherAddress { .. }));
}

#[test]
fn what_is_no_keystore_is_said_to_be_none() {
    let malformed = |content: &[u8]| matches!(Sealed::parse(content), Err(Fault::Malformed(_)));
    let cut = &sealed_weakly().to_string()[..200];
    for content in ["", "{}", "[3]", "key", "{\"version\":3}", cut] {
        assert!(malformed(content.as_bytes()), "{content}");
    }
    let wrong = [
        ("/crypto/ciphertext", json!("")),
        ("/crypto/ciphertext", json!("00".repeat(33))),
        ("/crypto/ciphertext", json!("0g")),
        ("/crypto/mac", json!("00".repeat(31))),
        ("/crypto/cipherparams/iv", json!("00".repeat(15))),
        ("/crypto/kdfparams/salt", json!(7)),
        ("/crypto/kdfparams/dklen", json!(16)),
        ("/crypto/kdfparams/n", json!(1023)),
        ("/crypto/kdfparams/n", json!(1)),
        ("/crypto/kdfparams/n", json!(0)),
        ("/crypto/kdfparams/r", json!(0)),
        ("/crypto/kdfparams/p", json!(0)),
        ("/address", json!("0x12")),
    ];
    for (field, value) in wrong {
        let mut file = sealed_weakly();
        *file.pointer_mut(field).unwrap() = value.clone();
        assert!(malformed(file.to_string().as_bytes()), "{field} = {value}");
    }
}

#[test]
fn what_cannot_be_decrypted_here_is_named() {
    let altered = |field: &str, value: Value| {
        let mut file = sealed_weakly();
        *file.pointer_mut(field).unwrap() = value;
        parse(&file).unwrap_err()
    };
    assert_eq!(altered("/version", json!(1)), Fault::Version("1".into()));
    let cipher = altered("/crypto/cipher", json!("aes-128-cbc"));
    assert_eq!(cipher, Fault::Cipher("aes-128-cbc".into()));
    let kdf = altered("/crypto/kdf", json!("argon2id"));
    assert_eq!(kdf, Fault::Kdf("argon2id".into()));
    let sha512 = PUBLISHED_PBKDF2.replace("hmac-sha256", "hmac-sha512");
    let fault = Sealed::parse(sha512.as_bytes()).unwrap_err();
    assert_eq!(fault, Fault::Kdf("pbkdf2 with hmac-sha512".into()));
}

#[test]
fn absurd_costs_are_refused_before_memory_or_time_is_taken() {
    let begun = Instant::now();
    for (n, r, p) in [
        (1_u64 << 63, 8, 1),
        (1 << 40, 8, 1),
        (1 << 20, 8, 1),
        (1 << 18, u32::MAX, 1),
        (2, 8, u32::MAX),
        (1 << 18, 8, 17),
        (u64::MAX, u32::MAX, u32::MAX),
    ] {
        let mut file = sealed_weakly();
        let salt = file["crypto"]["kdfparams"]["salt"].clone();
        file["crypto"]["kdfparams"] = json!({ "dklen": 32, "n": n, "r": r, "p": p, "salt": salt });
        let fault = parse(&file).unwrap_err();
        assert!(matches!(fault, Fault::TooCostly(_)), "{n} {r} {p}: {fault}");
    }
    for rounds in ["10000001", "4294967295"] {
        let file = PUBLISHED_PBKDF2.replace("262144", rounds);
        let fault = Sealed::parse(file.as_bytes()).unwrap_err();
        assert!(matches!(fault, Fault::TooCostly(_)), "{fault}");
    }
    assert!(begun.elapsed().as_secs() < 5);
    let mut twice_standard = sealed_weakly();
    twice_standard["crypto"]["kdfparams"]["n"] = json!(2 * standard_strength().unwrap().n());
    assert!(parse(&twice_standard).is_ok());
}

#[test]
fn keys_without_their_leading_zeros_are_read() {
    let sealed = Sealed::parse(WITHOUT_ZEROS.as_bytes()).unwrap();
    let wallet = sealed.unseal(&password("right")).unwrap();
    let digits = format!("0000{}", "07".repeat(30));
    assert_eq!(*wallet.secret_hex(), digits);
}

#[cfg(unix)]
#[test]
fn keystores_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wallet.json");
    let sealed = Sealed::seal(&counting_wallet(), &password("right"), weak()).unwrap();
    let store = Keystore {
        path: path.clone(),
        sealed,
    };
    store.write().unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for loose in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
        let error = Keystore::open(&path).unwrap_err();
        assert!(matches!(error, KeystoreError::LoosePermissions { mode, .. } if mode == loose));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_plain_key_that_others_can_reach_is_not_taken_over() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = |content: &str, mode| {
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        ForeignKey::read_file(file.path())
    };
    let plain = format!(" 0x{}\n", PUBLISHED_KEY);
    assert!(matches!(read(&plain, 0o600), Ok(ForeignKey::Plain(_))));
    let refused = read(&plain, 0o644);
    assert!(matches!(
        refused,
        Err(KeystoreError::LoosePermissions { .. })
    ));
    let encrypted = read(BY_ETHERS, 0o644);
    assert!(matches!(encrypted, Ok(ForeignKey::Encrypted(_))));
    for neither in ["", "0x12", "a key", &"0".repeat(64)] {
        let refused = read(neither, 0o600);
        assert!(matches!(refused, Err(KeystoreError::NotAKey(_))));
    }
}
