;; Euclid's algorithm. gcd.wasm beside this file is what `wat2wasm gcd.wat` makes of it.
(module
  (func (export "gcd") (param $a i32) (param $b i32) (result i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $b)))
        (i32.rem_u (local.get $a) (local.get $b))
        (local.set $a (local.get $b))
        (local.set $b)
        (br $next)))
    (local.get $a)))
