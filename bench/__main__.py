"""`python -m bench`: every benchmark, one after the other."""

from bench.relay import main

if __name__ == "__main__":
    main()
