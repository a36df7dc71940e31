//! A component of another world than `projection`.

wit_bindgen::generate!({
    inline: "
        package example:greeting;

        world greeter {
            export greet: func(name: string) -> string;
        }
    ",
});

struct Greeter;

impl Guest for Greeter {
    fn greet(name: String) -> String {
        format!("hello, {name}")
    }
}

export!(Greeter);
