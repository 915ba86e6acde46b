process GENOMEFORMER_MERGE {
    tag "$meta.id"
    label 'process_low'
    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(vectors), path(facts)

    output:
    tuple val(meta), path('*.vectors.npy'), emit: vectors
    tuple val("${task.process}"), val('genomeformer'), eval("genomeformer --version | sed 's/genomeformer //'"), topic: versions, emit: versions_genomeformer

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer embed $vectors --merge $args -o ${prefix}.vectors.npy
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.vectors.npy
    """
}
