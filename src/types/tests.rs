use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn image_ids_survive_text_and_bytes(bytes: [u8; 32], by_hash: bool) {
        let id = if by_hash { ImageId::Hash(bytes) } else { ImageId::Content(ContentId(bytes)) };
        prop_assert_eq!(id.to_string().parse::<ImageId>(), Ok(id));
        prop_assert_eq!(ImageId::from_bytes(&id.to_bytes()), Some(id));
        let cbor = serde_cbor::to_vec(&id).unwrap();
        prop_assert_eq!(cbor.len(), ImageId::LEN + 2, "a byte string, not an array");
        prop_assert_eq!(serde_cbor::from_slice::<ImageId>(&cbor).unwrap(), id);
    }

    #[test]
    fn paths_from_peers_never_leave_the_folder(bytes: Vec<u8>) {
        if let Some(path) = RelPath::from_bytes(bytes) {
            let joined = path.in_folder(Path::new("/photos"));
            prop_assert!(joined.starts_with("/photos"));
            prop_assert!(joined.components().all(|c| c != std::path::Component::ParentDir));
        }
    }
}

#[test]
fn wrong_identifiers_say_what_is_wrong() {
    assert_eq!("abc".parse::<ImageId>(), Err(ParseIdError::Length { found: 3 }));
    assert_eq!("xyz".parse::<ImageId>(), Err(ParseIdError::Digit { found: 'x' }));
    assert_eq!("c:12".parse::<ImageId>(), Err(ParseIdError::Length { found: 2 }));
}

#[test]
fn paths_with_climbing_or_absolute_parts_are_refused() {
    for bad in ["", "/etc/passwd", "a/../b", "..", "./a", "a//b", "a/", "nul\0"] {
        assert_eq!(RelPath::from_bytes(bad.as_bytes().to_vec()), None, "{bad:?}");
    }
    assert!(RelPath::from_bytes(vec![0xff, b'/', 0xfe]).is_some(), "need not be UTF-8");
}

#[test]
fn file_names_cannot_drive_the_terminal() {
    let path = RelPath::from_bytes(b"a\x1b[2Jb\xff".to_vec()).unwrap();
    assert_eq!(path.to_string(), "a\\u{1b}[2Jb\u{fffd}");
}

#[test]
fn capture_times_have_one_form() {
    assert!(CaptureTime::new("2016-04-21T14:03:22").is_some());
    assert!(CaptureTime::new("2016-04-21T14:03:22.120+02:00").is_some());
    for bad in ["2016:04:21 14:03:22", "2016-04-21", "2016-04-21T14:03:22 or so", "    -  -  T  :  :  "] {
        assert_eq!(CaptureTime::new(bad), None, "{bad}");
    }
}
