process GENOMEFORMER_EMBED {
    tag "$meta.id"
    label 'process_low'
    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(sequences), val(piece), val(pieces)
    val model

    output:
    tuple val(meta), path('*.npy'), path('*.npy.json'), emit: vectors
    tuple val("${task.process}"), val('genomeformer'), eval("genomeformer --version | sed 's/genomeformer //'"), topic: versions, emit: versions_genomeformer

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer embed $sequences --model $model --shard $piece/$pieces --workers $task.cpus $args -o ${prefix}.${piece}.npy
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.${piece}.npy ${prefix}.${piece}.npy.json
    """
}
