process GENOMEFORMER_MERGE {
    tag "$meta.id"
    label 'process_low'
    conda 'bioconda::genomeformer=0.1.0'
    publishDir params.outdir, mode: 'copy', pattern: '*.{npy,tsv,json}'

    input:
    tuple val(meta), path(vectors), path(facts)

    output:
    tuple val(meta), path('*.vectors.npy'), emit: vectors
    path 'versions.yml', emit: versions

    script:
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer embed $vectors --merge -o ${meta.id}.vectors.npy

    cat <<-END > versions.yml
    "${task.process}":
        genomeformer: \$(genomeformer --version | sed 's/genomeformer //')
    END
    """

    stub:
    """
    touch ${meta.id}.vectors.npy
    echo '"${task.process}": {genomeformer: stub}' > versions.yml
    """
}
