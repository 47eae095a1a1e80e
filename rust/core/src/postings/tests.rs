use super::pages::{self, Bytes};
use super::{Lengths, Postings, ascending};

#[test]
fn numbers_are_read_as_sqlite_writes_them() {
    for (bytes, value) in [
        (&[0x7f][..], 0x7f),
        (&[0x81, 0x00], 0x80),
        (&[0xff, 0x7f], 0x3fff),
        (&[0xff; 9], u64::MAX),
    ] {
        let mut reader = Bytes::new(bytes, 0);
        assert_eq!(reader.varint(), Some(value));
        assert_eq!(reader.at, bytes.len());
    }
    assert_eq!(Bytes::new(&[0x80], 0).varint(), None);
}

#[test]
fn positions_are_handed_over_by_column() {
    let mut found = Vec::new();
    pages::each(&[2, 5, 1, 3, 2, 4], |column, token| found.push((column, token))).unwrap();
    assert_eq!(found, [(0, 0), (0, 3), (3, 0), (3, 2)]);
    assert_eq!(pages::each(&[0], |_, _| ()), None);
}

#[test]
fn a_length_holds_between_the_flush_of_its_row_and_the_one_that_came_next() {
    let mut lengths = Lengths::default();
    lengths.put("3 7 0102810003,5 2 00", 9).unwrap();
    let known: Vec<Option<u32>> = (6..10).map(|newest| lengths.get(3, newest)).collect();
    assert_eq!(known, [None, Some(134), Some(134), None]);
    assert_eq!(lengths.get(5, 4), Some(0));
    assert_eq!(
        (lengths.get(4, 8), lengths.get(-1, 8), lengths.get(99, 8)),
        (None, None, None)
    );
    lengths.put("3 8 02", 8).unwrap();
    assert_eq!(
        lengths.get(3, 7),
        Some(134),
        "what an earlier snapshot says comes too late"
    );
    lengths.put("3 9 02", 10).unwrap();
    assert_eq!((lengths.get(3, 8), lengths.get(3, 9)), (None, Some(2)));
    assert_eq!(lengths.put("9999999999 1 02", 10), Some(()));
    for wrong in ["x", "1", "1 2", "1 2 8", "1 2 zz", "1 2 80", "-1 2 00"] {
        assert_eq!(lengths.put(wrong, 10).is_none(), wrong != "1 2 8", "{wrong}");
    }
}

#[test]
fn keys_come_ascending_and_once() {
    assert_eq!(ascending("[3,1,3,-2]"), Some(vec![-2, 1, 3]));
    assert_eq!(ascending("[]"), Some(Vec::new()));
    assert_eq!(ascending("[1,]"), None);
}

#[test]
fn bytes_that_are_no_page_are_refused_or_give_something_but_never_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut page: Vec<u8> = (0..random.usize(..60)).map(|_| random.u8(..)).collect();
        if page.len() > 20 && random.bool() {
            page[0..4].copy_from_slice(&[0, 8, 0, 18]);
            page[4..8].copy_from_slice(&[2, b'0', b'a', 1]);
            page[18] = 4;
        }
        let mut postings = Postings::new(vec![1.0, 2.0]);
        let went = postings
            .segment(3, &[&page])
            .and_then(|()| postings.segment(3, &[]))
            .and_then(|()| postings.begin(b"0a", &[&[0, 0, 0, 4], &page]))
            .and_then(|open| {
                open.iter()
                    .try_for_each(|&at| postings.extend(at, &page).map(|_| ()))
            })
            .and_then(|()| {
                if random.bool() {
                    postings.end()
                } else {
                    postings.part(1).and_then(|()| postings.phrase())
                }
            });
        refused += usize::from(went.is_err());
        postings.missing(&Lengths::default());
    }
    assert!((1..20_000).contains(&refused));
}
