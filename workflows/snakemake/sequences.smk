"""Vectors, predictions and scores of many sequences, in pieces that any number of nodes compute."""

SCRIPTS = Path(workflow.basedir) / "scripts"
TRAINED = config["model"] == "trained"
MODEL = BUNDLE if TRAINED else config["model"]
NEEDED = rules.release.output if TRAINED else []
TABLES = ["score", *(["predict"] if config["classifier"] else [])]


wildcard_constraints:
    piece=r"\d{4}",
    table="predict|score",


rule scatter:
    input:
        config["sequences"],
    output:
        temp(expand(f"{OUT}/pieces/{{piece}}.fa.gz", piece=PIECES)),
    log:
        f"{OUT}/logs/scatter.log",
    shell:
        "{sys.executable} {SCRIPTS}/scatter.py {input} --pieces {output} 2> {log}"


rule embed:
    input:
        sequences=f"{OUT}/pieces/{{piece}}.fa.gz",
        model=NEEDED,
    output:
        vectors=temp(f"{OUT}/pieces/{{piece}}.vectors.npy"),
        ids=temp(f"{OUT}/pieces/{{piece}}.ids.txt"),
    log:
        f"{OUT}/logs/embed.{{piece}}.log",
    shell:
        "{TOOL} embed {input.sequences} --model {MODEL} --workers {threads} {config[embed]}"
        " --ids {output.ids} > {output.vectors} 2> {log}"


rule predict:
    input:
        f"{OUT}/pieces/{{piece}}.fa.gz",
    output:
        temp(f"{OUT}/pieces/{{piece}}.predict.tsv"),
    log:
        f"{OUT}/logs/predict.{{piece}}.log",
    shell:
        "{TOOL} predict {input} --model {config[classifier]} --workers {threads}"
        " {config[predict]} > {output} 2> {log}"


rule score:
    input:
        sequences=f"{OUT}/pieces/{{piece}}.fa.gz",
        model=NEEDED,
    output:
        temp(f"{OUT}/pieces/{{piece}}.score.tsv"),
    log:
        f"{OUT}/logs/score.{{piece}}.log",
    shell:
        "{TOOL} score {input.sequences} --model {MODEL} --workers {threads} {config[score]}"
        " > {output} 2> {log}"


rule merge_vectors:
    input:
        vectors=expand(f"{OUT}/pieces/{{piece}}.vectors.npy", piece=PIECES),
        ids=expand(f"{OUT}/pieces/{{piece}}.ids.txt", piece=PIECES),
    output:
        vectors=f"{OUT}/vectors.npy",
        ids=f"{OUT}/ids.txt",
    shell:
        "{sys.executable} {SCRIPTS}/merge_vectors.py {input.vectors} --output {output.vectors}"
        " && cat {input.ids} > {output.ids}"


rule merge_table:
    input:
        expand(f"{OUT}/pieces/{{piece}}.{{{{table}}}}.tsv", piece=PIECES),
    output:
        f"{OUT}/{{table}}.tsv",
    shell:
        "head -n 1 {input[0]} > {output} && tail -q -n +2 {input} >> {output}"


rule results:
    input:
        (
            [f"{OUT}/vectors.npy", f"{OUT}/ids.txt", *expand(f"{OUT}/{{table}}.tsv", table=TABLES)]
            if config["sequences"]
            else []
        ),
