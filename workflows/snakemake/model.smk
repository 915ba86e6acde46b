"""From genomes to a released model. Every command resumes, so that a killed rule loses little."""


rule fetch:
    output:
        f"{OUT}/model/fetch.json",
    log:
        f"{OUT}/logs/fetch.log",
    shell:
        "{TOOL} fetch {config[fetch]} --json > {output} 2> {log}"


rule tokenize:
    input:
        rules.fetch.output,
    output:
        f"{OUT}/model/tokenize.json",
    log:
        f"{OUT}/logs/tokenize.log",
    shell:
        "{TOOL} tokenize --all --name {config[name]} {config[tokenize]} --json > {output} 2> {log}"


rule pretrain:
    input:
        rules.tokenize.output,
    output:
        f"{OUT}/model/pretrain.json",
    log:
        f"{OUT}/logs/pretrain.log",
    threads: workflow.cores
    shell:
        "OMP_NUM_THREADS={threads} {TOOL} pretrain --corpus {config[name]} --name {config[name]}"
        " {config[pretrain]} --json > {output} 2> {log}"


rule evaluate:
    input:
        run=rules.pretrain.output,
        tasks=config["tasks"],
    output:
        f"{OUT}/model/evaluation/eval_results.json",
        f"{OUT}/model/evaluation/report.html",
    log:
        f"{OUT}/logs/evaluate.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        tasks=lambda wildcards, input: " ".join(f"--task {task!r}" for task in input.tasks),
    threads: workflow.cores
    shell:
        "{TOOL} evaluate {config[name]} {params.tasks} --workers {threads} -o {params.folder}"
        " > {log} 2>&1"


rule release:
    input:
        rules.evaluate.output,
    output:
        f"{OUT}/model/release.json",
    log:
        f"{OUT}/logs/release.log",
    shell:
        "{TOOL} release {config[name]} --name {config[name]} -o {BUNDLE} --json"
        " > {output} 2> {log}"


rule model:
    input:
        rules.evaluate.output,
        rules.release.output,
