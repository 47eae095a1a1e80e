use super::dense::{Dense, eigen, quantised};
use super::{Corpus, Limits, Space};

fn limits(dim: usize) -> Limits {
    Limits {
        dim,
        ..Limits::default()
    }
}

fn fitted(texts: &[&str], dim: usize) -> Space {
    let mut corpus = Corpus::new(limits(dim)).unwrap();
    for text in texts {
        corpus.add(text.split(' '));
    }
    corpus.fit(1)
}

fn cosine(one: &[i8], other: &[i8]) -> f64 {
    let dot =
        |a: &[i8], b: &[i8]| -> f64 { a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt().max(1e-9)
}

/// Two topics that share no word; within a topic, texts name it in different words.
fn two_topics(dim: usize) -> Space {
    let mut random = fastrand::Rng::with_seed(7);
    let topics = [
        ["pool", "connection", "socket", "timeout", "acquire", "lease"],
        ["stem", "token", "porter", "unicode", "index", "fold"],
    ];
    let mut corpus = Corpus::new(limits(dim)).unwrap();
    for number in 0..200 {
        let mut words = topics[number % 2].to_vec();
        random.shuffle(&mut words);
        corpus.add(words.into_iter().take(3));
    }
    corpus.fit(1)
}

#[test]
fn words_that_keep_company_point_the_same_way() {
    let space = two_topics(2);
    let near = cosine(&space.embed(["pool"]), &space.embed(["socket", "lease"]));
    let far = cosine(&space.embed(["pool"]), &space.embed(["porter", "index"]));
    assert!(near > 0.9, "{near}");
    assert!(far < 0.1, "{far}");
}

#[test]
fn the_same_texts_give_the_same_bytes() {
    assert_eq!(two_topics(4).to_bytes(), two_topics(4).to_bytes());
}

#[test]
fn a_space_comes_back_from_its_bytes_and_embeds_alike() {
    let space = two_topics(4);
    let again = Space::from_bytes(&space.to_bytes()).unwrap();
    assert_eq!(again, space);
    assert_eq!(again.embed(["pool", "token"]), space.embed(["pool", "token"]));
    assert_eq!((again.dim(), again.documents(), again.terms()), (4, 200, 12));
}

#[test]
fn any_change_of_a_byte_is_refused() {
    let bytes = two_topics(4).to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(Space::from_bytes(&changed).is_err(), "byte {at}");
        assert!(Space::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_unknown_is_passed_over_and_nothing_known_is_zero() {
    let space = two_topics(4);
    assert_eq!(space.embed(["pool", "zebra"]), space.embed(["pool"]));
    assert_eq!(space.embed(["zebra"]), vec![0; 4]);
    assert_eq!(space.embed([]), vec![0; 4]);
}

#[test]
fn the_order_of_terms_says_nothing() {
    let space = two_topics(4);
    assert_eq!(
        space.embed(["pool", "lease", "pool"]),
        space.embed(["lease", "pool", "pool"])
    );
}

#[test]
fn rare_terms_count_for_more() {
    let space = fitted(&["a x", "a y", "a z", "a x", "a q", "b z", "b z q"], 3);
    let both = space.embed(["a", "b"]);
    assert!(cosine(&both, &space.embed(["b"])) > cosine(&both, &space.embed(["a"])));
}

#[test]
fn corpora_of_no_text_one_text_and_one_word_can_be_fitted() {
    for texts in [&[][..], &["one"], &["one", "one"], &["one two"], &[""]] {
        let space = fitted(texts, 8);
        assert_eq!(space.embed(["one"]).len(), 8);
        assert_eq!(Space::from_bytes(&space.to_bytes()).unwrap(), space);
    }
}

#[test]
fn limits_hold_whatever_is_given() {
    let bounds = Limits {
        dim: 4,
        terms: 50,
        terms_per_text: 10,
        pairs: 100,
    };
    let mut corpus = Corpus::new(bounds).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..100 {
        let words: Vec<String> = (0..200).map(|_| format!("w{}", random.u32(..500))).collect();
        corpus.add(words.iter().map(String::as_str));
    }
    assert_eq!(corpus.len(), 100);
    assert_eq!(corpus.fit(1).terms(), 50);
    assert!(Corpus::new(limits(0)).is_err());
    assert!(Corpus::new(limits(1_025)).is_err());
}

#[test]
fn where_pairs_are_short_common_terms_keep_their_company() {
    let bounds = Limits {
        pairs: 60,
        ..limits(2)
    };
    let topics = [["pool", "lease", "socket"], ["stem", "porter", "fold"]];
    let mut corpus = Corpus::new(bounds).unwrap();
    for number in 0..300 {
        let rare = [format!("once{number}"), format!("twice{}", number / 2)];
        let topic = topics[number % 2].iter().copied();
        corpus.add(topic.chain(rare.iter().map(String::as_str)));
    }
    let space = corpus.fit(1);
    let near = cosine(&space.embed(["pool"]), &space.embed(["lease", "socket"]));
    let far = cosine(&space.embed(["pool"]), &space.embed(["porter", "fold"]));
    assert!(near > 0.9, "{near}");
    assert!(far < 0.1, "{far}");
}

#[test]
fn columns_become_perpendicular_and_one_that_repeats_another_vanishes() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut dense = Dense::zeros(300, 6);
    for row in dense.rows_mut() {
        row.fill_with(|| random.f32() - 0.5);
        row[5] = row[4] * 1.000_1;
    }
    dense.orthonormalise();
    let products = dense.transposed_times(&dense);
    for i in 0..6 {
        for j in 0..6 {
            let wanted = f64::from(u8::from(i == j && i != 5));
            assert!((products[i * 6 + j] - wanted).abs() < 1e-4, "{i} {j}");
        }
    }
}

#[test]
fn eigenvectors_satisfy_their_equation() {
    let mut random = fastrand::Rng::with_seed(9);
    let size = 12;
    let mut square = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            let value = random.f64() - 0.5;
            square[i * size + j] = value;
            square[j * size + i] = value;
        }
    }
    let (values, vectors) = eigen(&square, size);
    for axis in 0..size {
        for row in 0..size {
            let image: f64 = (0..size)
                .map(|k| square[row * size + k] * vectors[k * size + axis])
                .sum();
            assert!((image - values[axis] * vectors[row * size + axis]).abs() < 1e-7);
        }
    }
}

#[test]
fn a_direction_in_bytes_keeps_its_angle() {
    let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
    let bytes = quantised(&values);
    let dot: f32 = values.iter().zip(&bytes).map(|(&v, &b)| v * f32::from(b)).sum();
    let lengths: f32 = values.iter().map(|v| v * v).sum::<f32>().sqrt()
        * bytes
            .iter()
            .map(|&b| f32::from(b) * f32::from(b))
            .sum::<f32>()
            .sqrt();
    assert!(dot / lengths > 0.999);
    assert_eq!(quantised(&[0.0, f32::NAN, 0.0]), vec![0, 0, 0]);
}
