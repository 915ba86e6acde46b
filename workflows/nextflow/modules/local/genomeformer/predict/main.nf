process GENOMEFORMER_PREDICT {
    tag "$meta.id"
    label 'process_low'
    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(sequences)
    val model

    output:
    tuple val(meta), path('*.predictions.tsv'), emit: predictions
    tuple val("${task.process}"), val('genomeformer'), eval("genomeformer --version | sed 's/genomeformer //'"), topic: versions, emit: versions_genomeformer

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer predict $sequences --model $model --workers $task.cpus $args -o ${prefix}.predictions.tsv
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.predictions.tsv
    """
}
