"""`python -m node --data DIR`: a node's process.

Nothing is imported unless this is that process: the prover's process is spawned from it, and would
load the whole node a second time.
"""

if __name__ == "__main__":
    from node.run import main

    main()
